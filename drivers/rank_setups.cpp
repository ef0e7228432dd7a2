#include "rank_setups.hpp"

namespace fpf {
FPF_RANK_SETUPS()
}
