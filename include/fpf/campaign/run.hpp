// A campaign at work: preflight, the plan's experiments one after another as programs beside this one, the comparison.
#pragma once

#include <sys/statvfs.h>

#include <chrono>
#include <fpf/campaign/checkpoints.hpp>
#include <fpf/campaign/estimate.hpp>
#include <fpf/campaign/journal.hpp>
#include <fpf/campaign/stop_report.hpp>
#include <fpf/core/child_process.hpp>
#include <fpf/core/message.hpp>
#include <fpf/experiment/baseline.hpp>

namespace fpf::campaign {

/// A program's folder has the others.
inline std::filesystem::path program_folder() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

class Campaign {
 public:
  /// Throws Error where what it would write or delete is an input.
  Campaign(const Settings& settings, std::vector<Step> steps)
      : settings_(settings),
        steps_(std::move(steps)),
        deletable_(checked(settings, steps_)),
        journal_(journal_path(settings), settings.dry_run) {}

  /// A step that fails is left out, and what is there is compared all the same; without a reference nothing is. Throws
  /// Error where steps failed, Finding where repetitions differ, and Interrupted. What is finished stays; the same
  /// command goes on behind it.
  ExitCode run() {
    estimate();
    journal_.add("campaign started", {{"pod", settings_.pod}, {"fpf", version}, {"revision", source_revision()}});
    preflight();
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      check_interrupt();
      perform(i);
    }
    compare();
    if (!failures_.empty()) stop_incomplete();
    journal_.add("campaign finished", {{"findings", findings_}});
    return findings_ == 0 ? ExitCode::ok : ExitCode::finding;
  }

  /// What would happen, on standard output.
  ExitCode describe() {
    estimate();
    double seconds = 0, bytes = 0, largest = 0;
    std::string text;
    for (const Step& step : steps_) {
      const State state = state_of(step);
      const bool runs = state != State::done;
      const double own_seconds = step_seconds(step, settings_.options, estimate_),
                   own_bytes = step_bytes(step, estimate_);
      if (runs) {
        seconds += own_seconds;
        bytes += own_bytes;
        largest = std::max(largest, own_bytes);
      }
      text += fmt::format(
          "{} {}: {}\n", step.number, step.program,
          !runs ? fmt::format("done, {} is there", step.file)
                : fmt::format("{}, {} configuration{}, about {}, {:.1f} MB",
                              state == State::partial ? "goes on from its .partial file" : "runs", step.configurations,
                              step.configurations == 1 ? "" : "s", duration_text(own_seconds), own_bytes / 1e6));
    }
    const auto free = std::filesystem::space(existing(settings_.out())).available;
    text += fmt::format("in all about {} and {:.1f} MB, of {:.1f} GB free ({})\n", duration_text(seconds),
                        (bytes + largest) / 1e6, static_cast<double>(free) / 1e9, estimate_.basis);
    for (const auto& [option, path] : deletable_) text += fmt::format("then {} {} is deleted\n", option, path.string());
    write_stdout(text + "then compare --all\n");
    return ExitCode::ok;
  }

 private:
  enum class State { missing, partial, done };
  using Deletable = std::vector<std::pair<std::string, std::filesystem::path>>;

  /// A step that failed, and why.
  struct Failure {
    std::string program, file, text;
    int code = 0;
  };

  /// What is deleted in the end.
  static Deletable checked(const Settings& settings, const std::vector<Step>& steps) {
    for (const char* name : {"analysis_results.json", "report", "campaign.journal"})
      refuse_overwriting({"--out's", (settings.out() / name).string()}, settings.inputs);
    auto inputs = settings.inputs;
    std::erase_if(inputs, [](const NamedPath& one) { return one.option == "--baseline"; });
    for (const Step& step : steps) refuse_overwriting({"--out's", (settings.out() / step.file).string()}, inputs);
    if (!settings.delete_checkpoints) return {};
    std::vector<NamedPath> kept{{"--out", settings.options.out}, {"the working folder", "."}};
    for (const NamedPath& one : settings.inputs)
      if (one.option != "--model-gptq" && one.option != "--model-bnb") kept.push_back(one);
    append_paths(kept, "--stack", settings.options.stacks);
    append_paths(kept, "--cuda", settings.options.toolkits);
    kept.push_back({"the folder of this program,", program_folder().string()});
    return deletable(settings.options, kept);
  }

  static std::filesystem::path existing(std::filesystem::path folder) {
    folder = std::filesystem::absolute(folder);
    while (!std::filesystem::exists(folder)) folder = folder.parent_path();
    return folder;
  }

  static std::filesystem::path journal_path(const Settings& settings) {
    std::error_code error;
    if (!settings.dry_run) std::filesystem::create_directories(settings.out(), error);
    if (error) fail("--out {}: cannot make that folder: {}", settings.options.out, error.message());
    return settings.out() / "campaign.journal";
  }

  State state_of(const Step& step) const {
    const auto file = settings_.out() / step.file;
    if (std::filesystem::exists(file)) return State::done;
    return std::filesystem::exists(file.string() + ".partial") ? State::partial : State::missing;
  }

  void say(const std::string& text) const {
    if (settings_.options.verbosity == Verbosity::normal) tell("campaign: {}", text);
  }

  void estimate() {
    const auto last = journal_.last("finished", "exp0_reference");
    const double start = last.is_object() ? last.value("start_seconds", 2.0) : 2.0;
    if (const auto found = estimate_from_reference(settings_.options.baseline, start))
      estimate_ = *found;
    else if (estimate_.basis.empty())
      estimate_ = estimate_from_size(settings_.options, model::Checkpoint::open(settings_.options.model));
  }

  double seconds_left(std::size_t from) const {
    double out = 0;
    for (std::size_t i = from; i < steps_.size(); ++i)
      if (state_of(steps_[i]) != State::done) out += step_seconds(steps_[i], settings_.options, estimate_);
    return out;
  }

  /// Runs a program of this build. Its standard error passes through here; what it ended with goes into the journal.
  int child(const std::string& program, std::vector<std::string> args, std::string& error) {
    args.insert(args.begin(), (program_folder() / program).string());
    if (!std::filesystem::exists(args.front())) fail("there is no {}: build it beside campaign", args.front());
    const int code = run_child(args, &error);
    check_interrupt();
    return code;
  }

  void preflight() {
    if (settings_.no_preflight || seconds_left(0) == 0) return;
    Sha256 hash;
    for (const Step& step : steps_) hash.update(step.fingerprint());
    const std::string fingerprint = hash.hex();
    if (const auto passed = journal_.last("preflight passed", "");
        passed.is_object() && passed.value("options", "") == fingerprint)
      return;
    std::string error;
    std::vector<std::string> args{"--pod", std::to_string(settings_.pod), "--out", settings_.options.out};
    args.insert(args.end(), settings_.all.begin(), settings_.all.end());
    if (!settings_.skip.empty()) args.insert(args.end(), {"--skip", settings_.skip});
    const int code = child("preflight", args, error);
    if (code != 0) stop("preflight", code, error);
    journal_.add("preflight passed", {{"options", fingerprint}});
  }

  void perform(std::size_t index) {
    const Step& step = steps_[index];
    if (state_of(step) == State::done) {
      take_up(step);
      say(fmt::format("{} of {}: {} is there", index + 1, steps_.size(), step.file));
    } else if (!start(index)) {
      return;
    }
    const auto file = evidence::open_experiment(settings_.out() / step.file);
    for (const std::string& one : unaccompanied(file)) {
      ++findings_;
      journal_.add("finding", {{"experiment", step.program}, {"text", one}});
      say(fmt::format("FINDING: {}: {}; going on", step.program, one));
    }
    const auto findings = findings_of(file);
    if (!findings.empty()) report(step, findings);
    if (step.number != 3 || !findings.empty()) return;
    for (const auto& [option, path] : deletable_) {
      remove_tree(path);
      journal_.add("deleted", {{"experiment", step.program}, {"option", option}, {"path", path.string()}});
      say(fmt::format("deleted {} {}", option, path.string()));
    }
  }

  /// Whether it ended well. A reference that does not ends the campaign: everything is held against it.
  bool start(std::size_t index) {
    const Step& step = steps_[index];
    std::vector<std::string> args = step.args;
    args.insert(args.end(), {"--out", settings_.options.out, "--resume"});
    if (step.number != 0) args.insert(args.end(), {"--baseline", settings_.options.baseline});
    say(fmt::format("{} of {}: {}, about {}; {} left in all", index + 1, steps_.size(), step.program,
                    duration_text(step_seconds(step, settings_.options, estimate_)),
                    duration_text(seconds_left(index))));
    journal_.add("started", {{"experiment", step.program}, {"options", step.fingerprint()}});
    const auto begin = std::chrono::steady_clock::now();
    std::string error;
    const int code = child(step.program, args, error);
    const bool ended = code == static_cast<int>(ExitCode::ok) || code == static_cast<int>(ExitCode::finding);
    if (!ended || state_of(step) != State::done) {
      if (ended) error = fmt::format("it left no {}", step.file);
      if (step.number == 0 || code == static_cast<int>(ExitCode::interrupted)) stop(step.program, code, error);
      journal_.try_add("failed", {{"experiment", step.program}, {"exit_code", code}, {"error", error}});
      failures_.push_back({step.program, step.file, failure_text(step.program, code, error), code});
      say(failures_.back().text + "; going on without it");
      return false;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    Json event = {{"experiment", step.program},
                  {"options", step.fingerprint()},
                  {"file", step.file},
                  {"exit_code", code},
                  {"seconds", seconds}};
    if (step.number == 0) {
      const auto reference = estimate_from_reference(settings_.out() / step.file, 0);
      if (reference)
        event["start_seconds"] =
            std::max(0.0, seconds - static_cast<double>(settings_.options.reps * prompt_count(settings_.options)) *
                                        reference->repetition);
    }
    journal_.add("finished", event);
    if (step.number == 0) estimate();
    return true;
  }

  /// A file that is there is this campaign's when the journal says so, or, where a kill came between file and journal
  /// or it was made by hand, when it is of the same model, prompt and options as the reference.
  void take_up(const Step& step) {
    const auto path = settings_.out() / step.file;
    for (const char* event : {"finished", "adopted"}) {
      const auto known = journal_.last(event, step.program);
      if (!known.is_object()) continue;
      if (known.value("options", "") == step.fingerprint()) return;
      fail("{} was made with other options than this campaign's: move it away, or choose another --out", path.string());
    }
    const auto file = evidence::open_experiment(path);
    if (step.number != 0) {
      const auto reference = Baseline::read(settings_.options.baseline);
      const Json metadata = file.metadata;
      reference.require_match(path.string(), metadata, evidence::prompts_of(file), step.number == 3);
      for (const auto& configuration : file.configurations) require_model(path, configuration, reference, step);
    }
    journal_.add("adopted", {{"experiment", step.program}, {"options", step.fingerprint()}, {"file", step.file}});
  }

  /// What is adopted ran the reference's weights, or another format of its model.
  void require_model(const std::filesystem::path& path, const nlohmann::json& configuration, const Baseline& reference,
                     const Step& step) const {
    const auto &theirs = evidence::model_of(configuration), &ours = evidence::model_of(reference.configuration());
    const bool known = evidence::identifies_weights(theirs) && evidence::identifies_weights(ours);
    const auto difference = step.number == 3 ? evidence::base_difference(theirs, ours)
                            : known          ? evidence::weights_difference(theirs, ours)
                                             : evidence::ModelDifference{};
    if (difference)
      fail(
          "{} was made from another model than {}: its model/{} is {}, that one's is {}; move it away, or choose another "
          "--out",
          path.string(), settings_.options.baseline, difference.field, difference.a, difference.b);
  }

  static std::string failure_text(const std::string& program, int code, const std::string& error) {
    const std::string how = code > 128 ? fmt::format("was ended by signal {}{}", code - 128,
                                                     code == 128 + SIGKILL ? " (out of memory?)" : "")
                                       : fmt::format("ended with exit code {}", code);
    return fmt::format("{} {}{}{}", program, how, error.empty() ? "" : ": ", error);
  }

  static constexpr const char* how_to_go_on = ". What was finished stays; the same command goes on from there";

  [[noreturn]] void stop(const std::string& program, int code, const std::string& error) {
    journal_.try_add("stopped", {{"experiment", program}, {"exit_code", code}, {"error", error}});
    if (code == static_cast<int>(ExitCode::interrupted)) throw Interrupted();
    const std::string text = failure_text(program, code, error) + how_to_go_on;
    if (code == static_cast<int>(ExitCode::bug)) throw std::runtime_error(text);
    throw Error(text);
  }

  /// In the end, with the exit code of the worst.
  [[noreturn]] void stop_incomplete() {
    std::string text = fmt::format("{} of {} experiments are missing", failures_.size(), steps_.size());
    const char* separator = ": ";
    bool bug = false;
    for (const Failure& one : failures_) {
      text += fmt::format("{}{} ({})", std::exchange(separator, "; "), one.file, one.text);
      bug |= one.code == static_cast<int>(ExitCode::bug);
    }
    if (findings_ != 0) text += fmt::format("; {} findings", findings_);
    journal_.try_add("stopped", {{"failed", failures_.size()}, {"findings", findings_}});
    text += how_to_go_on;
    if (bug) throw std::runtime_error(text);
    throw Error(text);
  }

  /// The plan: "document any non-deterministic behaviors, immediately stop and report back to me".
  void report(const Step& step, const std::vector<std::string>& findings) {
    findings_ += findings.size();
    std::string text = fmt::format("{} ({}): not reproducible\n", step.program, step.file);
    for (const std::string& finding : findings) text += finding;
    const auto path = settings_.out() / fmt::format("stop_and_report_{}.txt", step.program);
    AtomicFile(path).append(text).commit();
    journal_.add("finding", {{"experiment", step.program}, {"report", path.string()}});
    if (settings_.keep_going) {
      say(fmt::format("FINDING: {}: repetitions differ, see {}; going on", step.program, path.string()));
      return;
    }
    write_stdout(text);
    throw Finding(fmt::format("{}: repetitions differ: the report is in {}; --keep-going goes on all the same",
                              step.program, path.string()));
  }

  void compare() {
    std::string error;
    const auto out = settings_.out();
    const int code = child("compare",
                           {"--all", "--experiment-dir", out.string(), "--signal", "all", "--layer", "all", "--output",
                            (out / "analysis_results.json").string(), "--report", (out / "report").string()},
                           error);
    if (code == 0) {
      journal_.add("compared", {{"report", (out / "report" / "index.html").string()}});
      return;
    }
    if (failures_.empty() || code == static_cast<int>(ExitCode::interrupted)) stop("compare", code, error);
    failures_.push_back({"compare", "report", failure_text("compare", code, error), code});
  }

  const Settings& settings_;
  std::vector<Step> steps_;
  Deletable deletable_;
  Journal journal_;
  Estimate estimate_;
  std::size_t findings_ = 0;
  std::vector<Failure> failures_;
};

}  // namespace fpf::campaign
