#include "eager_setups.hpp"

namespace fpf {
FPF_EAGER_SETUPS()
}
