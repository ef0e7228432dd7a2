#include "reference_setups.hpp"

namespace fpf {
FPF_REFERENCE_SETUPS()
}
