// THE forward pass of a decoder-only transformer, written once over words. An engine is who carries the words out:
// libtorch, the decode step's kernels, the portable execution on a CPU or a GPU, or one that only says what the others
// do.
#pragma once

#include <cstddef>

namespace fpf::engine {

/// The words of a pass. Its residual stream is the engine's own. Handles are what an engine likes them to be: a tensor,
/// an address, or a note that the next product norms its input on the way in.
///   weights()                 has layers[i].input_norm, layers[i].post_norm and final_norm
///   embed()                   the residual stream becomes the tokens' embeddings
///   norm(weight)              -> Normed: RMSNorm of the residual stream
///   qkv(i, Normed)            -> Heads: the queries, keys and values of layer i
///   attend(i, Heads)          -> Attended: head norms, RoPE, into the cache, attention over it
///   project(i, Attended)      -> Delta: the attention's output projection, whole on every rank
///   feed_forward(i, Normed)   -> Delta: the MLP, or the router and its experts, whole on every rank
///   add_norm(Delta, weight)   -> Normed: the residual stream plus Delta, and RMSNorm of it
///   show(i)                   layer i is done: its signals to who wants them
///   head(Normed)              -> logits
template <class W>
concept Words = requires(W& words, std::size_t layer) {
  words.embed();
  words.weights().layers[layer].post_norm;
  words.add_norm(
      words.project(layer, words.attend(layer, words.qkv(layer, words.norm(words.weights().layers[layer].input_norm)))),
      words.weights().layers[layer].post_norm);
  words.add_norm(words.feed_forward(layer, words.norm(words.weights().layers[layer].post_norm)),
                 words.weights().final_norm);
  words.show(layer);
  words.head(words.norm(words.weights().final_norm));
};

/// What head() returns.
template <Words W>
auto forward_pass(W& words) {
  const auto& model = words.weights();
  const std::size_t layers = model.layers.size();
  words.embed();
  auto normed = words.norm(model.layers.front().input_norm);
  for (std::size_t i = 0; i < layers; ++i) {
    const auto& next_norm = i + 1 < layers ? model.layers[i + 1].input_norm : model.final_norm;
    normed = words.add_norm(words.project(i, words.attend(i, words.qkv(i, normed))), model.layers[i].post_norm);
    normed = words.add_norm(words.feed_forward(i, normed), next_norm);
    words.show(i);
  }
  return words.head(normed);
}

}  // namespace fpf::engine
