#include "compiled.hpp"

namespace fpf {
template class BasicSession<>;
template struct engine::DecoderFactory<>;
}  // namespace fpf
