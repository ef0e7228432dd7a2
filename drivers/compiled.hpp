// Sessions and their decoders, which session.cpp compiles once for all programs and tests (target fpf_session).
#pragma once

#include <fpf/experiment.hpp>

namespace fpf {
extern template class BasicSession<>;
extern template struct engine::DecoderFactory<>;
}  // namespace fpf
