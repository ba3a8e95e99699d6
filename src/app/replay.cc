// SPDX-License-Identifier: Apache-2.0
#include "app/replay.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

#include "app/commands.h"
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

struct Tally {
  std::uint64_t events = 0, decisions = 0, different = 0;
};

// "" or what is wrong with the log.
std::string replay_lines(std::ifstream& in, Router& router, bool same_policy, Tally& tally) {
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
    const Effects effects = router.handle(record->at, record->event);
    for (const Effect& e : effects)
      if (const auto* train = std::get_if<Train>(&e)) trainings.start(*train);
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
  if (const std::string wrong = replay_lines(in, **router, !args.policy, tally); !wrong.empty())
    return fail_with(wrong);
  fmt::print("{} events, {} decisions, policy {}: {}; decision hash {:016x}\n", tally.events,
             tally.decisions, config.policy,
             tally.different == 0 ? "all effects as logged"
             : args.policy        ? fmt::format("{} events with other effects", tally.different)
                                  : "they differ",
             (*router)->decision_hash());
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
