// How fast one core writes an experiment file: shortest round-trip decimals of bfloat16, float16 and float32
// signals.
//   benchmark_write_evidence [FOLDER]
#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fpf/evidence/experiment_writer.hpp>
#include <fpf/evidence/run_json.hpp>
#include <random>

namespace {

using namespace fpf;

/// Normally distributed values in a dtype, little-endian.
evidence::VectorRows rows_of(DType dtype, std::int64_t rows, std::int64_t width, std::mt19937& random) {
  std::normal_distribution<float> values;
  evidence::VectorRows out{.dtype = dtype, .width = width, .bytes = {}};
  out.bytes.resize(static_cast<std::size_t>(rows * width) * size_of(dtype));
  for (std::int64_t i = 0; i < rows * width; ++i) {
    const float value = values(random);
    std::byte* at = out.bytes.data() + static_cast<std::size_t>(i) * size_of(dtype);
    const std::uint16_t half = dtype == DType::float16 ? float16_from_float32(value) : bfloat16_from_float32(value);
    if (size_of(dtype) == 4)
      std::memcpy(at, &value, 4);
    else
      std::memcpy(at, &half, 2);
  }
  return out;
}

/// The default experiment's shape: 30 steps, five layers of 2048 and 512, top 10.
evidence::RunRecord record_of(DType dtype) {
  std::mt19937 random(1);
  evidence::RunRecord record;
  record.config_id = "benchmark";
  record.signals.prompt_tokens = 6144;
  for (int step = 0; step < 30; ++step) record.signals.token_ids.push_back(step);
  record.token_texts.assign(30, " word");
  for (const int layer : {1, 2, 4, 12, 47})
    record.signals.layers.push_back({.layer = layer,
                                     .hidden = rows_of(dtype, 32, 2048, random),
                                     .keys = rows_of(dtype, 32, 512, random),
                                     .router = {}});
  record.signals.logprobs.k = 10;
  for (int i = 0; i < 320; ++i) {
    record.signals.logprobs.ids.push_back(i);
    record.signals.logprobs.values.push_back(-static_cast<float>(random()) * 0x1p-28f);
  }
  return record;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Speed {
  double megabytes = 0, wall = 0, processor = 0;  // MB/s of each
};

/// Four runs into a file by way of the partial one, every record and the file synced to disk.
Speed write_file(const evidence::RunRecord& record, const std::filesystem::path& path) {
  const auto start = std::chrono::steady_clock::now();
  const auto ticks = std::clock();
  evidence::ExperimentWriter writer(path, {{"experiment_type", "benchmark"}}, {""}, false);
  for (int run = 0; run < 4; ++run)
    writer.add({{"config_id", fmt::format("r{}", run)}, {"hardware", "h"}}, {to_json(record)});
  writer.finish();
  const double wall = seconds_since(start), processor = static_cast<double>(std::clock() - ticks) / CLOCKS_PER_SEC;
  const double megabytes = static_cast<double>(std::filesystem::file_size(path)) / 1e6;
  std::filesystem::remove(path);
  return {megabytes, megabytes / wall, megabytes / processor};
}

Speed format_run(const evidence::RunRecord& record) {
  const auto start = std::chrono::steady_clock::now();
  const auto ticks = std::clock();
  const double megabytes = static_cast<double>(to_json(record).size()) / 1e6;
  return {megabytes, megabytes / seconds_since(start),
          megabytes / (static_cast<double>(std::clock() - ticks) / CLOCKS_PER_SEC)};
}

/// "median (least to most)" of nine calls after one that warms up.
template <class Call>
std::string spread(Call call, double Speed::*of) {
  std::vector<double> speeds;
  call();
  for (int i = 0; i < 9; ++i) speeds.push_back(call().*of);
  std::ranges::sort(speeds);
  return fmt::format("{:.0f} ({:.0f} to {:.0f})", speeds[4], speeds.front(), speeds.back());
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path path = std::filesystem::path(argc > 1 ? argv[1] : ".") / "write_evidence.json";
  fmt::print(
      "MB/s, median (range) of nine. Processor: of one core's time. Files are written twice (partial, final) "
      "and "
      "synced: wall time has the disk's part.\n\n"
      "| signals | MB a run | to text, processor | to synced files, processor | to synced files, wall |\n"
      "| --- | --- | --- | --- | --- |\n");
  for (const DType dtype : {DType::bfloat16, DType::float16, DType::float32}) {
    const auto record = record_of(dtype);
    const auto format = [&] { return format_run(record); };
    const auto write = [&] { return write_file(record, path); };
    fmt::print("| {} | {:.1f} | {} | {} | {} |\n", name_of(dtype), format().megabytes,
               spread(format, &Speed::processor), spread(write, &Speed::processor), spread(write, &Speed::wall));
  }
}
