// SPDX-License-Identifier: Apache-2.0
#include "app/replay.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

#include "app/commands.h"
#include "app/learned_state.h"
#include "policies/catalog.h"
#include "routing/router.h"
#include "telemetry/journal_text.h"

namespace lodestar::app {
namespace {

int fail_with(const std::string& message) {
  fmt::print(stderr, "lodestar replay: {}\n", message);
  return 2;
}

// Training is a pure function of its job, so the log holds no weights: the jobs run
// again here, and each is handed back where the log says that it was published.
class Trainings {
 public:
  void start(const Train& train) { jobs_[train.policy].push_back(train.job); }
  // Null when the log knows of a training that the replay did not start.
  std::shared_ptr<const Predictor> finish(PolicyId policy) {
    auto& waiting = jobs_[policy];
    if (waiting.empty()) return nullptr;
    const auto job = std::move(waiting.front());
    waiting.pop_front();
    return job ? job->run() : nullptr;
  }

 private:
  std::map<PolicyId, std::deque<std::shared_ptr<const TrainJob>>> jobs_;
};

bool decides(const Effects& effects) {
  for (const Effect& e : effects)
    if (std::holds_alternative<Dispatch>(e) || std::holds_alternative<Reject>(e) ||
        std::holds_alternative<Hold>(e))
      return true;
  return false;
}

// What the decisions expected, against the first tokens that came.
class Expectations {
 public:
  void placed(TimeNs now, const Effects& effects) {
    for (const Effect& e : effects)
      if (const auto* d = std::get_if<Dispatch>(&e); d != nullptr && d->forecast.ttft_ms > 0)
        open_[d->placements[0].lease] = {now, d->forecast};
  }
  void came(TimeNs now, const Event& event) {
    const auto* first = std::get_if<FirstToken>(&event);
    if (first == nullptr) return;
    const auto it = open_.find(first->lease);
    if (it == open_.end()) return;
    const double ttft_ms = to_ms(now - it->second.first);
    const Expectation& f = it->second.second;
    ++seen_;
    relative_error_ += std::fabs(f.ttft_ms - ttft_ms) / std::max(ttft_ms, 1.0);
    inside_ += ttft_ms >= f.ttft_low_ms && ttft_ms <= f.ttft_high_ms ? 1 : 0;
    open_.erase(it);
  }
  void print() const {
    if (seen_ == 0) return;
    const double n = static_cast<double>(seen_);
    fmt::print(
        "expected against observed TTFT: {} requests, mean relative error {:.3f}, {:.1f} % "
        "inside the 90 % interval\n",
        seen_, relative_error_ / n, 100 * static_cast<double>(inside_) / n);
  }

 private:
  std::map<LeaseId, std::pair<TimeNs, Expectation>> open_;
  std::uint64_t seen_ = 0, inside_ = 0;
  double relative_error_ = 0;
};

// The state that the log carries, as the build at hand reads it. "" or what is wrong.
std::string bring_back(StateLoaded& event) {
  auto states = decode_learned(event.bytes);
  if (!states) return states.error().message;
  if (states->size() != 1) return "a loaded state must be one";
  event.predictor = std::move(states->front().predictor);
  return {};
}

struct Tally {
  std::uint64_t events = 0, decisions = 0, different = 0;
};

// "" or what is wrong with the log.
std::string replay_lines(std::ifstream& in, Router& router, bool same_policy, Tally& tally,
                         Expectations& expectations) {
  Trainings trainings;
  std::string line;
  for (std::uint64_t number = 2; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    auto record = telemetry::parse_journal_record(line);
    if (!record) return fmt::format("line {}: {}", number, record.error().message);
    if (record->number != tally.events)
      return fmt::format("line {}: records {} to {} are missing (the log was dropped or cut there)",
                         number, tally.events, record->number);
    if (auto* published = std::get_if<PredictorPublished>(&record->event)) {
      auto predictor = trainings.finish(published->policy);
      if (!record->published_null) published->predictor = std::move(predictor);
    }
    if (auto* state = std::get_if<StateLoaded>(&record->event))
      if (const std::string wrong = bring_back(*state); !wrong.empty())
        return fmt::format("line {}: {}", number, wrong);
    if (same_policy) expectations.came(record->at, record->event);
    const Effects effects = router.handle(record->at, record->event);
    for (const Effect& e : effects)
      if (const auto* train = std::get_if<Train>(&e)) trainings.start(*train);
    if (same_policy) expectations.placed(record->at, effects);
    ++tally.events;
    if (decides(effects)) ++tally.decisions;
    std::string text;
    telemetry::append_effects(text, effects);
    if (text == record->effects) continue;
    if (++tally.different == 1 && same_policy) {
      fmt::print("first difference: record {} (line {}) at {} ns\n  logged   {}\n  replayed {}\n",
                 record->number, number, record->at, record->effects, text);
      return {};
    }
  }
  return {};
}

}  // namespace

int run_replay(const ReplayArgs& args) {
  std::ifstream in(args.log);
  std::string line;
  if (!in || !std::getline(in, line)) return fail_with(fmt::format("cannot read {}", args.log));
  auto header = telemetry::parse_journal_header(line);
  if (!header) return fail_with(fmt::format("{}: {}", args.log, header.error().message));
  if (header->next != 0)
    return fail_with(fmt::format("{} begins with record {}; replay needs the log from its start",
                                 args.log, header->next));
  RouterConfig config = header->config;
  if (args.policy) {
    config.policy = *args.policy;
    config.policy_by_model.clear();
  }
  auto router = Router::create(config, [](std::string_view name) { return make_policy(name); });
  if (!router) return fail_with(router.error().message);
  Tally tally;
  Expectations expectations;
  if (const std::string wrong = replay_lines(in, **router, !args.policy, tally, expectations);
      !wrong.empty())
    return fail_with(wrong);
  fmt::print("{} events, {} decisions, policy {}: {}; decision hash {:016x}\n", tally.events,
             tally.decisions, config.policy,
             tally.different == 0 ? "all effects as logged"
             : args.policy        ? fmt::format("{} events with other effects", tally.different)
                                  : "they differ",
             (*router)->decision_hash());
  expectations.print();
  return tally.different == 0 || args.policy ? 0 : 1;
}

void add_replay_command(CLI::App& app, int& exit_code) {
  auto args = std::make_shared<ReplayArgs>();
  CLI::App* cmd = app.add_subcommand("replay", "Makes the decisions of a decision log again");
  cmd->add_option("--log", args->log, "Decision log, as written by serve")
      ->required()
      ->check(CLI::ExistingFile);
  cmd->add_option("--policy", args->policy, "Another policy: counts what it decides otherwise");
  cmd->callback([args, &exit_code] { exit_code = run_replay(*args); });
}

}  // namespace lodestar::app
