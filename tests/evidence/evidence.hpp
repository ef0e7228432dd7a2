// Signals of fixtures/make_evidence.py and experiments made of them: what tests of evidence/ share.
#pragma once

#include <bit>
#include <cstring>
#include <fpf/evidence/experiment_writer.hpp>
#include <random>

#include "folders.hpp"

using namespace fpf;
using namespace fpf::evidence;

inline std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < text.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return out;
}

template <class T>
void append_hex(std::vector<T>& to, const nlohmann::json& text) {
  const auto bytes = from_hex(text.get<std::string>());
  to.resize(to.size() + bytes.size() / sizeof(T));
  std::memcpy(to.data() + to.size() - bytes.size() / sizeof(T), bytes.data(), bytes.size());
}

inline void append_ids(std::vector<std::int32_t>& to, const nlohmann::json& ids) {
  for (const auto& id : ids) to.push_back(id);
}

inline VectorRows vectors(DType dtype, const nlohmann::json& rows) {
  VectorRows out{dtype};
  for (const auto& row : rows) append_hex(out.bytes, row);
  out.width = static_cast<std::int64_t>(out.bytes.size() / rows.size() / size_of(dtype));
  return out;
}

/// A run of the fixture as the recorder would leave it.
inline Signals signals_of(const nlohmann::json& run) {
  const DType dtype = parse_dtype(run.at("dtype").get<std::string>());
  Signals out{run.at("prompt_tokens"), run.at("token_ids")};
  for (const auto& layer : run.at("rows").at("layers")) {
    LayerSignals entry{layer.at("layer"), vectors(dtype, layer.at("hidden_states")),
                       vectors(dtype, layer.at("key_vectors"))};
    if (layer.contains("router")) {
      RouterRows& router = entry.router.emplace();
      for (const auto& row : layer.at("router")) {
        router.k = static_cast<std::int64_t>(row.at("expert_ids").size());
        append_ids(router.expert_ids, row.at("expert_ids"));
        append_hex(router.weights, row.at("weights"));
        append_hex(router.margin, row.at("margin"));
      }
    }
    out.layers.push_back(std::move(entry));
  }
  for (const auto& row : run.at("rows").at("logprobs")) {
    out.logprobs.k = static_cast<std::int64_t>(row.at("ids").size());
    append_ids(out.logprobs.ids, row.at("ids"));
    append_hex(out.logprobs.values, row.at("values"));
  }
  return out;
}

inline const nlohmann::json& fixture() {
  static const auto all = nlohmann::json::parse(std::ifstream(FPF_SOURCE "/tests/evidence/fixtures/evidence.json"));
  return all;
}

inline Json as_json(const Digests& d) {
  Json out = {{"rep_id", 0}};
  out.update(to_json(d));
  return out;
}

inline RunRecord record_of(Signals signals, const std::string& config_id = "test_reference") {
  RunRecord out;
  out.config_id = config_id;
  out.timestamp = "2026-01-01 00:00:00";
  out.prompt_text = "a \"quoted\" text,\"runs\":[ and \n lines";
  out.prompt_token_ids.assign(static_cast<std::size_t>(signals.prompt_tokens), 5);
  out.prompt_sha256 = sha256_hex(std::as_bytes(std::span(out.prompt_token_ids)));
  out.reproducibility = {{"repetitions", 1},
                         {"bit_exact", true},
                         {"digests", Json::array({as_json(digests_of(signals))})},
                         {"first_difference", nullptr}};
  out.runtime = {{"seconds", {1.5}}, {"mean", 1.5}, {"variance", 0.0}};
  out.token_texts.resize(signals.token_ids.size());
  out.signals = std::move(signals);
  return out;
}

inline Json configuration(const std::string& config_id = "test_reference") {
  return {{"config_id", config_id}, {"hardware", "test"}, {"variable_value", nullptr}};
}

/// Of the fixture's runs.
inline Json metadata(DType dtype) {
  return {{"schema_version", 1},
          {"experiment_type", "reference"},
          {"extraction_config",
           {{"layers", {1, 6}},
            {"hidden_dim", 5},
            {"key_dim", 4},
            {"top_k_logprobs", 3},
            {"signal_dtypes",
             {{"hidden_states", name_of(dtype)},
              {"key_vectors", name_of(dtype)},
              {"logprobs", "float32"},
              {"router", "float32"}}}}}};
}

/// Writes an experiment of one configuration with one run.
inline fs::path write_experiment(const fs::path& path, const RunRecord& run) {
  ExperimentWriter writer(path, metadata(run.signals.layers.front().hidden.dtype), {"fingerprint"}, false);
  writer.add(configuration(run.config_id), {to_json(run)});
  writer.finish();
  return path;
}

inline std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Equal JSON, numbers as the float32 that they stand for.
inline void require_equal(const nlohmann::json& ours, const nlohmann::json& theirs, const std::string& where) {
  if (theirs.is_number_float()) {
    BOOST_REQUIRE_MESSAGE(ours.is_number(), where);
    const auto a = static_cast<float>(ours.get<double>()), b = static_cast<float>(theirs.get<double>());
    BOOST_REQUIRE_MESSAGE(bits(a) == bits(b), where << ": " << ours << " for " << theirs);
  } else if (theirs.is_structured()) {
    BOOST_REQUIRE_MESSAGE(ours.type() == theirs.type() && ours.size() == theirs.size(), where);
    for (const auto& [key, value] : theirs.items()) {
      const bool object = theirs.is_object();
      BOOST_REQUIRE_MESSAGE(!object || ours.contains(key), where << " lacks " << key);
      require_equal(object ? ours.at(key) : ours.at(std::stoul(key)), value, where + "." + key);
    }
  } else {
    BOOST_REQUIRE_MESSAGE(ours == theirs, where << ": " << ours << " for " << theirs);
  }
}

/// Signals of random finite bits, `width` numbers a row.
inline Signals random_signals(DType dtype, std::int64_t width, std::int64_t steps) {
  std::mt19937 generator(7);
  const std::uint32_t exponent = dtype == DType::float32 ? 0x7f800000u : dtype == DType::float16 ? 0x7c00u : 0x7f80u;
  const auto fill = [&](std::byte* to, std::size_t count) {
    for (std::size_t i = 0; i < count;) {
      const auto pattern = static_cast<std::uint32_t>(generator()) & (dtype == DType::float32 ? ~0u : 0xffffu);
      if ((pattern & exponent) == exponent) continue;
      std::memcpy(to + i++ * size_of(dtype), &pattern, size_of(dtype));
    }
  };
  Signals out{3, std::vector<std::int32_t>(static_cast<std::size_t>(steps), 1)};
  LayerSignals layer{2, {dtype, width}, {dtype, width}};
  for (VectorRows* rows : {&layer.hidden, &layer.keys}) {
    rows->bytes.resize(static_cast<std::size_t>(out.rows()) * rows->row_bytes());
    fill(rows->bytes.data(), static_cast<std::size_t>(out.rows() * width));
  }
  out.layers.push_back(std::move(layer));
  out.logprobs = {1, std::vector<std::int32_t>(static_cast<std::size_t>(out.rows()), 1),
                  std::vector<float>(static_cast<std::size_t>(out.rows()), -0.5f)};
  return out;
}

inline std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}
