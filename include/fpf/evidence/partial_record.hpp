// A line of a partial experiment file without its rows, which may be larger than the memory.
#pragma once

#include <fpf/evidence/json_cursor.hpp>
#include <fpf/evidence/run_json.hpp>
#include <string_view>

namespace fpf::evidence {

/// What a resumed experiment knows of a line: all of a first line, and of a record {"configuration", "runs"} what is
/// small, without decode_steps and prompts. The line is checked to be JSON throughout. Null for one that is not, that
/// nests too deeply or that has too much in it.
inline Json partial_record(std::string_view line) {
  const auto is_rows = [](std::string_view key) {
    return key == "decode_steps" || key == "prompt_text" || key == "prompt_token_ids";
  };
  if (!Json::accept(line)) return nullptr;  // without a tree
  try {
    JsonCursor in(line, "a record");
    Json out = Json::object();
    in.enter_object();
    while (const auto key = in.next_key()) {
      const std::string name(*key);
      if (name != "runs") {
        out[name] = in.take_as<Json>(line.size());
        continue;
      }
      Json& runs = out[name] = Json::array();
      in.enter_array();
      while (in.next_element()) {
        Json run = Json::object();
        in.enter_object();
        while (const auto member = in.next_key()) {
          const std::string_view text = in.take();
          if (!is_rows(*member)) run[std::string(*member)] = in.parse<Json>(text);
        }
        runs.push_back(std::move(run));
      }
    }
    in.finish();
    return out;
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace fpf::evidence
