// SPDX-License-Identifier: Apache-2.0
// Prompts as text, from what a workload says of them. Every token becomes one word
// of a space and four letters, a function of its identity alone, so two prompts
// share exactly the text of their shared tokens. Under the emulated engine's token
// rule (a space starts a token, at most six bytes) a word is one token: the engine
// counts what the workload planned, and shares what the workload shares but for a
// chance of 1 in 456,976 per token that two identities spell the same word. A real
// tokenizer counts differently; the shared prefixes stay shared.
//
// Where a later prompt repeats an earlier answer (multi-turn), the text is the
// answer that really came, so that engines find the blocks they generated.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sim/workload.h"

namespace lodestar::loadgen {

inline constexpr std::size_t kWordBytes = 5;

// Appends the words of one span.
void append_words(sim::TokenSpan span, std::string& out);

// Answers that later prompts of the same workload repeat. A conversation is one
// stream of tokens in which questions and answers follow each other.
class AnswerMemory {
 public:
  struct Piece {
    sim::TokenSpan span;
    std::string_view answer;  // its text as it came; empty: no answer, spell the words
  };

  // Remembers the answer whose tokens a later prompt names as `output`. Ignored
  // unless the text has one word per token (another tokenizer, a failed request).
  void remember(sim::TokenSpan output, std::string text);
  // The span in order, cut where remembered answers begin and end.
  std::vector<Piece> pieces(sim::TokenSpan span) const;

 private:
  struct Answer {
    std::uint64_t first = 0, end = 0;
    std::string text;
  };
  std::unordered_map<std::uint64_t, std::vector<Answer>> by_stream_;  // sorted by first
};

enum class Endpoint { kCompletions, kChat };

struct BodyOptions {
  Endpoint endpoint = Endpoint::kCompletions;
  std::string served_model;
  bool force_length = true;  // ignore_eos, min_tokens = max_tokens
};

// The JSON body of one streaming request that asks for usage. A chat sends the
// whole prompt as one user message, except that remembered answers become
// assistant messages of their own; the engine adds its template to the count.
std::string request_body(const sim::SimRequest& request, std::int64_t output_tokens,
                         const AnswerMemory& answers, const BodyOptions& options);

}  // namespace lodestar::loadgen
