// The types of an experiment file's members that programs look up: checked once, where the file is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

namespace fpf::evidence {

enum class MemberType : std::uint8_t { string, boolean, integer, number, object, array, token_source };

/// A member by its path, "*" for every element of an array; where there is one, it is of that type.
struct TypedMember {
  std::string_view path;
  MemberType type;
  bool nullable = false;
};

inline constexpr TypedMember metadata_types[] = {
    {"experiment_type", MemberType::string},  {"decode_steps", MemberType::integer},
    {"sequence_length", MemberType::integer}, {"prompts", MemberType::object},
    {"prompts/count", MemberType::integer},   {"prompts/documents", MemberType::array},
    {"tokens", MemberType::token_source}};

inline constexpr TypedMember configuration_types[] = {{"cuda_version", MemberType::string, true},
                                                      {"fixed_params", MemberType::object},
                                                      {"manifest", MemberType::object, true},
                                                      {"manifest/model", MemberType::object, true},
                                                      {"manifest/model/id", MemberType::string, true},
                                                      {"manifest/communicator", MemberType::object, true},
                                                      {"manifest/communicator/emulated", MemberType::boolean},
                                                      {"manifest/own_kernels", MemberType::array},
                                                      {"manifest/own_kernels/*", MemberType::object},
                                                      {"manifest/own_kernels/*/name", MemberType::string},
                                                      {"manifest/own_kernels/*/instructions", MemberType::integer},
                                                      {"manifest/own_kernels/*/registers", MemberType::integer}};

inline constexpr TypedMember run_types[] = {{"status", MemberType::string},
                                            {"prompt_sha256", MemberType::string},
                                            {"prompt_index", MemberType::integer},
                                            {"document_sha256", MemberType::string},
                                            {"document_offset", MemberType::integer},
                                            {"signals_sha256", MemberType::string},
                                            {"tokens", MemberType::object},
                                            {"tokens/from", MemberType::token_source},
                                            {"tokens/sha256", MemberType::string},
                                            {"non_finite", MemberType::object, true},
                                            {"non_finite/signal", MemberType::string},
                                            {"neighbours", MemberType::array},
                                            {"neighbours/*", MemberType::object},
                                            {"reproducibility", MemberType::object, true},
                                            {"reproducibility/repetitions", MemberType::integer},
                                            {"reproducibility/bit_exact", MemberType::boolean},
                                            {"reproducibility/first_difference", MemberType::object, true},
                                            {"reproducibility/first_difference/signal", MemberType::string},
                                            {"reproducibility/digests", MemberType::array},
                                            {"reproducibility/digests/*", MemberType::object},
                                            {"reproducibility/digests/*/rep_id", MemberType::integer}};

constexpr std::string_view name_of(MemberType type) {
  constexpr std::string_view names[] = {"a string",  "true or false", "an integer",           "a number",
                                        "an object", "an array",      "\"baseline\" or \"file\""};
  return names[static_cast<std::size_t>(type)];
}

inline bool is_of(const nlohmann::json& value, MemberType type) {
  switch (type) {
    case MemberType::string:
      return value.is_string();
    case MemberType::boolean:
      return value.is_boolean();
    case MemberType::integer:
      return value.is_number_integer();
    case MemberType::number:
      return value.is_number();
    case MemberType::object:
      return value.is_object();
    case MemberType::array:
      return value.is_array();
    case MemberType::token_source:
      return value == "baseline" || value == "file";
  }
  return false;
}

/// Calls on_fault(member, value) for every value in `json` at that path that is of another type; it may throw.
template <class OnFault>
void check_member_type(const nlohmann::json& json, const TypedMember& member, std::string_view rest,
                       OnFault& on_fault) {
  const std::string_view key = rest.substr(0, rest.find('/'));
  const bool last = key.size() == rest.size();
  const auto look_at = [&](const nlohmann::json& value) {
    if (!last) return check_member_type(value, member, rest.substr(key.size() + 1), on_fault);
    if (!is_of(value, member.type) && !(member.nullable && value.is_null())) on_fault(member, value);
  };
  if (key == "*" && json.is_array())
    for (const auto& value : json) look_at(value);
  if (key == "*" || !json.is_object()) return;
  if (const auto found = json.find(std::string(key)); found != json.end()) look_at(*found);
}

template <class OnFault>
void check_member_types(const nlohmann::json& json, std::span<const TypedMember> members, OnFault on_fault) {
  for (const TypedMember& member : members) check_member_type(json, member, member.path, on_fault);
}

}  // namespace fpf::evidence
