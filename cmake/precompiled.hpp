// What nearly every file reads.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
