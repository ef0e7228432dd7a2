#include "compiled_json.hpp"

NLOHMANN_JSON_NAMESPACE_BEGIN
namespace detail {

FPF_JSON_TEMPLATES(, json)
FPF_JSON_TEMPLATES(, ordered_json)

}  // namespace detail
NLOHMANN_JSON_NAMESPACE_END
