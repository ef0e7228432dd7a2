// One experiment as the drivers see it: configurations in, a file out. runner.hpp has what it does.
#pragma once

#include <fpf/experiment/experiment_info.hpp>
#include <fpf/experiment/setup.hpp>
#include <fpf/quant/quant_config.hpp>
#include <memory>

namespace fpf {

class Baseline;
class ModelIdentity;
struct RunSettings;
struct Repetition;
namespace parallel {
class World;
}

/// One experiment: opened inputs, a growing file, and the verdict on repetitions. A template without
/// parameters of its own, so that a project of many programs can compile it once (`extern template`, as
/// drivers/driver.hpp does): this header names decoders and inputs only.
template <class = void>
class BasicRunner {
 public:
  /// `world`: the processes of a launcher, of which this is one; null without one.
  BasicRunner(ExperimentInfo info, Options options, parallel::World* world = nullptr);
  ~BasicRunner();

  const Options& options() const { return options_; }
  /// Experiment 0's file. Throws Error in experiment 0 itself.
  const Baseline& baseline() const;

  /// The reference configuration of this model, under --execution.
  Setup reference() const;
  /// Policies by their names, fpf's and those that were added to the registry. Throw Error for another name.
  static const attention::Kernel& attention(std::string_view name);
  static const parallel::Scheme& parallelism(std::string_view name);
  static const execution::Policy& execution(std::string_view name);

  /// Reads the documents of the first `count` neighbours in the batches to come. Throws Error when there are
  /// too few.
  void load_neighbours(std::size_t count);

  /// Opens a further checkpoint of --model's shape that must be quantised by `method`. Throws Error naming
  /// `option`.
  std::shared_ptr<const model::Checkpoint> open(const std::string& option, const std::string& model,
                                                quant::Method method) const;

  /// The rank counts to run: those asked for, else the launcher's or 2 and 4. Throws Error when the model does not
  /// divide over one of them, before anything has run.
  std::vector<std::int64_t> rank_counts(const parallel::Scheme& scheme, const std::vector<std::int64_t>& asked) const;

  /// Loads and runs one configuration, `--reps` times, unless the resumed file has it already.
  void run(const Variant& variant, const Setup& setup);

  /// Puts another program's reference configuration into the file, as one of this experiment's.
  void add(const Baseline& other, const std::string& tag, const Json& value);

  /// Writes the experiment file. Returns `finding` when repetitions differed or a signal was no number.
  ExitCode finish();

  /// The main of an experiment: its options, then `body` on a runner. Returns the exit code.
  static int main(int argc, char** argv, const ExperimentInfo& info, const std::function<void(BasicRunner&)>& body);

 private:
  std::filesystem::path file() const { return std::filesystem::path(options_.out) / info_.file(); }

  /// Whether this process writes the file and speaks to the user: rank 0, or the only one.
  bool is_root() const;
  const model::Checkpoint& model_of(const Variant& variant) const;
  const ModelIdentity& identity_of(const Variant& variant) const;
  const RunSettings& settings_for(const Variant& variant);
  bool is_recorded(const Variant& variant);
  bool is_resumed(const Variant& variant);
  void run_setup(const Variant& variant, Session& setup);
  std::vector<std::string> runs_of(const Variant& variant, const std::string& id, std::size_t prompt_index,
                                   const Session& setup, std::vector<Repetition>& repetitions);
  Json configuration(const Variant& variant, const std::string& id, const Session& setup) const;
  Json metadata() const;
  Json required_params() const;
  std::string fingerprint() const;
  void load_baseline();
  void force_tokens();
  void look_at_earlier_file();
  std::vector<std::string> neighbours_of(const Variant& variant) const;
  void add_baseline();
  void print_ranks(const Variant& variant, const Json& manifest) const;
  void notice(const std::string& text) const;
  void report(const std::string& finding);

  ExperimentInfo info_;
  Options options_;
  struct State;
  std::unique_ptr<State> state_;  // model, inputs, baseline, the growing file
};

using Runner = BasicRunner<>;

/// The main of an experiment's program.
inline int experiment_main(int argc, char** argv, const ExperimentInfo& info,
                           const std::function<void(Runner&)>& body) {
  return Runner::main(argc, argv, info, body);
}

}  // namespace fpf
