// The options of single experiments: what is varied, and how far.
#pragma once

#include <fpf/experiment/options.hpp>

namespace fpf {

/// A list of numbers, repeated or comma-separated, that replaces `to` when given.
inline auto* number_list(const std::string& option, std::vector<std::int64_t>& to) {
  return po::value<std::vector<std::string>>()->composing()->value_name("LIST")->notifier(
      [option, &to](const std::vector<std::string>& values) { to = detail::positive_list(option, values); });
}

namespace detail {
inline void rank_options(po::options_description& group, Options& out) {
  group.add_options()                                                                                       //
      ("emulate", po::bool_switch(&out.emulate), "all ranks on one GPU (on the CPU they always share it)")  //
      ("rank-timeout", po::value(&out.rank_timeout)->value_name("SECONDS")->default_value(out.rank_timeout, "30"),
       "after which a process that does not come or shows no sign of life ends the run");
}
inline auto* file_list(std::vector<std::string>& to) { return po::value(&to)->composing()->value_name("F"); }
}  // namespace detail

inline void batch_options(po::options_description& described, Options& out) {
  po::options_description group("Batch");
  group.add_options()                                                                                            //
      ("batch-sizes", number_list("batch-sizes", out.batch_sizes), "sizes to run (default: 2,4)")                //
      ("neighbour-pdf", detail::file_list(out.neighbour_pdfs), "a document for a further sequence; repeatable")  //
      ("neighbour-ids", detail::file_list(out.neighbour_ids),
       "token ids of a further sequence, a JSON array as long as the prompt; repeatable");
  described.add(group);
}

inline void quantisation_options(po::options_description& described, Options& out) {
  po::options_description group("Quantisation (--model is the AWQ checkpoint)");
  group.add_options()                                                                        //
      ("model-gptq", po::value(&out.model_gptq)->value_name("M"), "the same model in GPTQ")  //
      ("model-bnb", po::value(&out.model_bnb)->value_name("M"), "the same model in bitsandbytes' NF4");
  described.add(group);
}

inline void contention_options(po::options_description& described, Options& out) {
  po::options_description group("Contention");
  group.add_options()("contention",
                      po::value(&out.contention)->value_name("SHARE")->default_value(out.contention, "0.5"),
                      "share of the time that the load is busy for");
  described.add(group);
}

inline void cuda_options(po::options_description& described, Options& out) {
  po::options_description group("CUDA versions");
  group.add_options()  //
      ("cuda", po::value(&out.toolkits)->composing()->value_name("VERSION|DIR"),
       "toolkit whose compiler makes fpf's own kernels; repeatable")  //
      ("stack", detail::file_list(out.stacks), "build folder of fpf against another libtorch; repeatable");
  described.add(group);
}

inline void tensor_options(po::options_description& described, Options& out) {
  po::options_description group("Ranks");
  group.add_options()("tp", number_list("tp", out.tp),
                      "ranks to divide the model over (default: 2,4; under a launcher its processes)");
  detail::rank_options(group, out);
  described.add(group);
}

inline void expert_options(po::options_description& described, Options& out) {
  po::options_description group("Ranks");
  group.add_options()  //
      ("ep", number_list("ep", out.ep),
       "ranks to divide the experts over (default: 2,4; under a launcher its processes)")  //
      ("placement", po::value(&out.placement)->value_name("P")->default_value(out.placement),
       "of the experts: contiguous or round_robin");
  detail::rank_options(group, out);
  described.add(group);
}

}  // namespace fpf
