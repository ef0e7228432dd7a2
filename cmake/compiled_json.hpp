// nlohmann::json's parsers and writers, declared for this project's programs and compiled once (compiled_json.cpp): they are
// three seconds of every file that instantiates them.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

#define FPF_JSON_PARSER(EXTERN, JSON, INPUT) \
  EXTERN template class lexer<JSON, INPUT>;  \
  EXTERN template class parser<JSON, INPUT>;

#define FPF_JSON_TEMPLATES(EXTERN, JSON)                    \
  EXTERN template class serializer<JSON>;                   \
  EXTERN template class json_sax_dom_parser<JSON>;          \
  EXTERN template class json_sax_dom_callback_parser<JSON>; \
  FPF_JSON_PARSER(EXTERN, JSON, compiled_string_input)      \
  FPF_JSON_PARSER(EXTERN, JSON, compiled_text_input)        \
  FPF_JSON_PARSER(EXTERN, JSON, input_stream_adapter)

NLOHMANN_JSON_NAMESPACE_BEGIN
namespace detail {

using compiled_string_input = iterator_input_adapter<std::string::const_iterator>;
using compiled_text_input = iterator_input_adapter<const char*>;
FPF_JSON_TEMPLATES(extern, json)
FPF_JSON_TEMPLATES(extern, ordered_json)

}  // namespace detail
NLOHMANN_JSON_NAMESPACE_END
