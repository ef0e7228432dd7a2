#include "compiled.hpp"

namespace fpf {
template class BasicSession<>;
template struct model::DecoderFactory<>;
}  // namespace fpf
