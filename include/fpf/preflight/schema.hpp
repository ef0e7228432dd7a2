// JSON Schema, by valijson (draft 7, of which experiment.schema.json keeps to what it has). Costs seconds to compile:
// included by programs, not by headers.
#pragma once

#include <fpf/core/json.hpp>
#include <string>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#include <vector>

namespace fpf::preflight {

/// Where `document` does not fit `schema`, the innermost place first, as "/runs/0/status: ..."; none where it fits.
/// Throws std::runtime_error for a schema that is none.
inline std::vector<std::string> schema_errors(const nlohmann::json& schema, const nlohmann::json& document) {
  valijson::Schema parsed;
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  const valijson::adapters::NlohmannJsonAdapter schema_adapter(schema), adapter(document);
  parser.populateSchema(schema_adapter, parsed);
  valijson::Validator validator(valijson::Validator::kStrongTypes);
  valijson::ValidationResults results;
  std::vector<std::string> out;
  if (validator.validate(parsed, adapter, &results)) return out;
  for (valijson::ValidationResults::Error error; results.popError(error);) {
    std::string place;
    for (const auto& part : error.context)
      if (part != "<root>")
        place += "/" + part.substr(part.starts_with('[') ? 1 : 0, part.size() - (part.starts_with('[') ? 2 : 0));
    out.push_back((place.empty() ? "/" : place) + ": " + error.description);
  }
  if (out.empty()) out.emplace_back("/: does not fit the schema");
  return out;
}

}  // namespace fpf::preflight
