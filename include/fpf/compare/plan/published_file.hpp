// Measurements that the plan's author published, in the three layouts of his files (github.com/NaciCankaya/
// Floating_point_noise_GPU_verification): read, recomputed in double, and held against the files' own
// matrices.
#pragma once

#include <array>
#include <cmath>
#include <filesystem>
#include <fpf/core/decimal.hpp>
#include <fpf/core/mapped_file.hpp>
#include <fpf/evidence/json_cursor.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fpf::compare::published {

using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;

enum class Layout {
  raw_activations,   // raw_activations.batch_size_N[rep][dim] or raw_activations.layer_N[rep][dim]
  measurement_list,  // measurements[]: one per reference and batch size
  measurement_table  // measurements{size}[reference]
};

constexpr std::string_view name_of(Layout layout) {
  constexpr std::array<std::string_view, 3> names{"raw_activations", "measurements[]", "measurements{}"};
  return names[static_cast<std::size_t>(layout)];
}

/// What one position of one measurement holds; empty where the file has none.
struct Position {
  Vector keys;                  // of the last layer
  Vector token_ids, log_probs;  // in the file's order, most probable first but for the prompt's own token
};

struct Measurement {
  std::string size;                                               // batch size or tensor-parallel size
  std::string reference;                                          // which prompt
  std::map<std::string, std::map<std::string, Position>> phases;  // "prefill", "decode" -> "pos_-1" -> signals
};

struct File {
  std::string name;
  Layout layout{};
  std::string hardware;                                     // GPU name, where the file gives one
  std::vector<std::pair<std::string, Matrix>> activations;  // raw_activations: key -> [repetition, dim]
  std::vector<Measurement> measurements;                    // the other two layouts
  std::map<std::string, Matrix> stated;                     // the file's own matrices, by their path
  std::map<std::string, double> stated_distances;           // systematic_deviations: "bs1_vs_bs4" -> distance
};

namespace detail {

using evidence::JsonCursor;

/// Reads one published file. Values that are not looked at may be anything, bare Infinity included.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : file_(path, decimal_overrun), cursor_(file_.text(), path.string()) {
    out_.name = path.string();
  }

  File run() {
    bool recognised = false;
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      const std::string name(*key);
      if (name == "raw_activations") {
        out_.layout = Layout::raw_activations;
        each_key([&](const std::string& inner) { out_.activations.emplace_back(inner, matrix()); });
        recognised = true;
      } else if (name == "measurements") {
        out_.layout = cursor_.peek() == '[' ? Layout::measurement_list : Layout::measurement_table;
        out_.layout == Layout::measurement_list ? read_list() : read_table();
        recognised = true;
      } else if (name == "systematic_deviations") {
        each_key([&](const std::string& pair) { out_.stated_distances[pair] = cursor_.take_as<double>(); });
      } else if (name.ends_with("_sanity_check") || name == "within_hardware_analysis") {
        read_stated(name);
      } else if (name == "hardware" || name == "metadata") {
        find_hardware();
      } else {
        cursor_.take();
      }
    }
    cursor_.finish();
    if (!recognised)
      fail("{}: expected a published measurement with raw_activations or measurements, found neither", out_.name);
    return std::move(out_);
  }

 private:
  void each_key(const std::function<void(const std::string&)>& visit) {
    cursor_.enter_object();
    while (const auto key = cursor_.next_key()) {
      cursor_.charge(sizeof(Position) + key->size());  // of what may be kept under it
      visit(std::string(*key));
    }
  }

  Vector numbers() {
    if (cursor_.peek() != '[') cursor_.fail_here("expected an array of numbers");
    const std::string_view text = cursor_.take();
    if (text.size() > evidence::longest_row)
      cursor_.fail_here(fmt::format("a row of {} bytes: expected at most {}", text.size(), evidence::longest_row));
    Vector out;
    const ArrayFault fault = read_array(text, [&](const char* at) {
      const char* const end = read_decimal(at, out.emplace_back());
      return end == nullptr || !std::isfinite(out.back()) ? nullptr : end;
    });
    if (fault.at != nullptr) cursor_.fail_at(fault.at, fmt::format("element {} is no number", fault.index));
    cursor_.charge(2 * (sizeof(Vector) + out.size() * sizeof(double)));
    return out;
  }

  Matrix matrix() {
    Matrix out;
    cursor_.enter_array();
    while (cursor_.next_element()) {
      out.push_back(numbers());
      if (out.back().size() != out.front().size())
        cursor_.fail_here(
            fmt::format("expected {} numbers, as in the rows before, found {}", out.front().size(), out.back().size()));
    }
    return out;
  }

  void read_list() {
    cursor_.enter_array();
    while (cursor_.next_element()) read_measurement({});
  }

  void read_table() {
    each_key([&](const std::string& size) {
      cursor_.enter_array();
      for (int reference = 0; cursor_.next_element(); ++reference)
        read_measurement({.size = size, .reference = fmt::format("ref_{}", reference), .phases = {}});
    });
  }

  void read_measurement(Measurement measurement) {
    cursor_.charge(2 * sizeof(Measurement));
    each_key([&](const std::string& key) {
      if (key == "ref_name")
        measurement.reference = cursor_.take_as<std::string>();
      else if (key == "batch_size")
        measurement.size = std::to_string(cursor_.take_as<std::int64_t>());
      else if (key.ends_with("_signals"))
        read_phase(measurement.phases[key.substr(0, key.size() - 8)]);
      else
        cursor_.take();
    });
    if (measurement.size.empty() || measurement.reference.empty())
      cursor_.fail_here("expected a measurement with a ref_name and a batch_size");
    out_.measurements.push_back(std::move(measurement));
  }

  void read_phase(std::map<std::string, Position>& phase) {
    each_key([&](const std::string& key) { key.starts_with("pos_") ? read_position(phase[key]) : skip(); });
  }

  void read_position(Position& position) {
    each_key([&](const std::string& key) {
      if (key == "signals")
        read_position(position);
      else if (key == "key_vectors")
        each_key([&](const std::string&) { position.keys = numbers(); });  // last layer last
      else if (key == "logprobs")
        each_key([&](const std::string& part) {
          if (part == "log_probs")
            position.log_probs = numbers();
          else if (part == "token_ids")
            position.token_ids = numbers();
          else
            cursor_.take();
        });
      else
        cursor_.take();
    });
    if (position.token_ids.size() != position.log_probs.size())
      cursor_.fail_here(fmt::format("expected as many token_ids as log_probs, found {} and {}",
                                    position.token_ids.size(), position.log_probs.size()));
  }

  void read_stated(const std::string& name) {
    each_key([&](const std::string& key) {
      if (key == "matrix" || key == "key_matrix" || key == "logprob_matrix")
        out_.stated[name + "." + key] = matrix();
      else
        cursor_.take();
    });
  }

  void find_hardware() {
    each_key([&](const std::string& key) {
      if (key == "gpu" || key == "gpu_name")
        out_.hardware = cursor_.take_as<std::string>();
      else if (key == "environment" || key == "environments" || (cursor_.peek() == '{'))
        find_hardware();
      else
        cursor_.take();
    });
  }

  void skip() { cursor_.take(); }

  MappedFile file_;
  JsonCursor cursor_;
  File out_;
};

}  // namespace detail

/// Reads a published file in any of the three layouts. Throws Error when it is none of them.
inline File open(const std::filesystem::path& path) { return detail::Reader(path).run(); }

}  // namespace fpf::compare::published
