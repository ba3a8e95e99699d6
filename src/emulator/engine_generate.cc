// SPDX-License-Identifier: Apache-2.0
// /v1/completions and /v1/chat/completions.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "emulator/api_text.h"
#include "emulator/engine_server.h"

namespace lodestar::emulator {

// One request on its way. Lives in the coroutine that answers it.
struct EngineServer::Job {
  GenerateRequest request;
  std::string id;  // without the cmpl- prefix
  AnswerText text;
  std::shared_ptr<Generation> generation;
  std::uint64_t output_seed = 0;
  std::string prefix;            // of echo
  std::size_t text_limit = std::string::npos;  // where a stop string cuts
  std::string stop_reason;

  // The text of generated tokens [from, to).
  std::string piece(std::int64_t from, std::int64_t to) const {
    std::string out;
    for (std::int64_t i = from; i < to; ++i)
      append_token_text(generated_token(output_seed, i), out);
    // Generated tokens are words of five bytes.
    const std::size_t start = static_cast<std::size_t>(from) * 5;
    if (start + out.size() > text_limit) out.resize(text_limit > start ? text_limit - start : 0);
    return from == 0 ? prefix + out : out;
  }
  std::string_view finish_reason() const { return generation->ends_by_length ? "length" : "stop"; }
  Usage usage(std::int64_t generated, bool details) const {
    return {generation->prompt_tokens, generated, details ? generation->cached_tokens : -1};
  }
};

namespace {

ApiError too_long(std::int64_t limit, std::int64_t prompt, std::int64_t output) {
  return {400, "BadRequestError",
          fmt::format("This model's maximum context length is {} tokens. However, you requested {} "
                      "output tokens and your prompt contains {} input tokens, for a total of {} "
                      "tokens. Please reduce the length of the input prompt or the number of "
                      "requested output tokens.",
                      limit, output, prompt,
                      prompt + std::min(output, std::numeric_limits<std::int64_t>::max() - prompt)),
          "input_tokens"};
}

// vLLM's defaults: 16 for a completion, whatever fits for a chat.
std::int64_t effective_max_tokens(const GenerateRequest& r, std::int64_t room) {
  if (r.max_tokens) return *r.max_tokens;
  return r.chat ? std::max<std::int64_t>(room, 1) : std::min<std::int64_t>(room, 16);
}

struct StopCut {
  std::int64_t tokens = 0;
  std::size_t text_limit = 0;
  std::string stop;
};

// The first end of a stop string in the answer, at or after min_tokens.
std::optional<StopCut> find_stop(const GenerateRequest& r, std::uint64_t seed,
                                 std::int64_t output_tokens) {
  if (r.stop.empty()) return std::nullopt;
  std::string text;
  for (std::int64_t i = 0; i < output_tokens; ++i)
    append_token_text(generated_token(seed, i), text);
  std::optional<StopCut> best;
  for (const std::string& stop : r.stop) {
    for (std::size_t at = text.find(stop); at != std::string::npos; at = text.find(stop, at + 1)) {
      const std::size_t end = at + stop.size();
      const auto tokens = static_cast<std::int64_t>((end + 4) / 5);
      if (tokens < r.min_tokens) continue;
      if (!best || tokens < best->tokens) best = {tokens, r.include_stop ? end : at, stop};
      break;
    }
  }
  return best;
}

// ORCA load report on answers that are not streamed.
void add_load_report(const net::ServerRequest& request, const sim::EngineStats& stats,
                     net::Headers& headers) {
  const std::string* format = request.head.headers.find("endpoint-load-metrics-format");
  if (format == nullptr) return;
  if (*format == "TEXT") {
    headers.add("endpoint-load-metrics",
                fmt::format("TEXT named_metrics.kv_cache_usage_perc={}, "
                            "named_metrics.num_requests_waiting={:.1f}",
                            stats.kv_usage, static_cast<double>(stats.waiting)));
  } else if (*format == "JSON") {
    headers.add("endpoint-load-metrics",
                fmt::format(R"(JSON {{"named_metrics": {{"kv_cache_usage_perc": {}, )"
                            R"("num_requests_waiting": {:.1f}}}}})",
                            stats.kv_usage, static_cast<double>(stats.waiting)));
  }
}

bool is_json(const net::RequestHead& head) {
  const std::string* type = head.headers.find("content-type");
  if (type == nullptr) return true;  // vLLM lets a missing type pass
  const std::string_view media = std::string_view(*type).substr(0, type->find(';'));
  return net::equal_ignoring_case(media.substr(0, media.find_last_not_of(" \t") + 1),
                                  "application/json");
}

}  // namespace

std::optional<ApiError> EngineServer::check_served_model(const std::string& name) const {
  if (name.empty() || name == options_.served_model) return std::nullopt;
  return ApiError{404, "NotFoundError", fmt::format("The model `{}` does not exist.", name),
                  "model"};
}

std::string EngineServer::request_id(const net::ServerRequest& request,
                                     const GenerateRequest& parsed) {
  if (const std::string* given = request.head.headers.find("x-request-id");
      given != nullptr && !given->empty())
    return *given;
  if (!parsed.request_id.empty()) return parsed.request_id;
  return fmt::format("{:016x}{:016x}", rng_.next(), rng_.next());
}

// Checks the request against this engine and hands it over.
ApiResult<EngineServer::Job> EngineServer::prepare(const net::ServerRequest& request, bool chat) {
  if (!is_json(request.head))
    return std::unexpected(ApiError{
        400, "Bad Request", "Unsupported Media Type: Only 'application/json' is allowed", {}});
  auto parsed = chat ? parse_chat_completion(request.body) : parse_completion(request.body);
  if (!parsed) return std::unexpected(parsed.error());
  if (auto error = check_served_model(parsed->served_model)) return std::unexpected(*error);

  const std::int64_t limit = driver_->max_model_len();
  const auto prompt = static_cast<std::int64_t>(parsed->prompt.size());
  const std::int64_t max_tokens = effective_max_tokens(*parsed, limit - prompt);
  // Compared this way round: a client may ask for 2^63 - 1 tokens.
  if (max_tokens < 1 || prompt >= limit || max_tokens > limit - prompt)
    return std::unexpected(too_long(limit, prompt, std::max<std::int64_t>(max_tokens, 1)));

  BlockChain chain(driver_->engine().config().block_tokens, parsed->cache_salt);
  for (TokenId token : parsed->prompt) chain.add(token);
  const std::uint64_t seed = chain.digest();
  const std::int64_t natural =
      std::max({natural_output_tokens(seed), parsed->min_tokens, std::int64_t{1}});
  std::int64_t output = parsed->ignore_eos ? max_tokens : std::min(natural, max_tokens);
  bool by_length = output == max_tokens;
  const std::optional<StopCut> cut = find_stop(*parsed, seed, output);
  if (cut) {
    output = cut->tokens;
    by_length = false;
  }
  for (std::int64_t i = 0; i < output; ++i) chain.add(generated_token(seed, i));

  const std::string id = request_id(request, *parsed);
  auto generation =
      driver_->submit(prompt, output, max_tokens, by_length, std::move(chain.blocks()), seed);
  if (!generation) {
    const Error& e = generation.error();
    if (e.code == ErrorCode::kUnavailable)
      return std::unexpected(ApiError{503, "ServiceUnavailable", e.message, {}});
    return std::unexpected(ApiError{400, "BadRequestError", e.message, {}});
  }
  std::string prefix = parsed->echo ? detokenize(parsed->prompt) : std::string();
  parsed->prompt = {};
  return Job{std::move(*parsed),
             id,
             AnswerText(chat, (chat ? "chatcmpl-" : "cmpl-") + id, options_.served_model,
                        unix_start_ + (net::now_ns() - request.received) / kSecond),
             std::move(*generation),
             seed,
             std::move(prefix),
             cut ? cut->text_limit : std::string::npos,
             cut ? cut->stop : std::string()};
}

net::Headers EngineServer::answer_headers(const Job& job, std::string_view content_type) const {
  net::Headers headers{{"Content-Type", content_type}};
  if (options_.request_id_headers) headers.add("X-Request-Id", job.id);
  return headers;
}

net::Task<int> EngineServer::generate(net::ServerRequest& request, net::ServerResponse& response,
                                      bool chat, std::uint64_t& bytes) {
  if (options_.fail_after > 0 && generations_ >= static_cast<std::uint64_t>(options_.fail_after)) {
    driver_->kill();
    response.abort();
    co_return 0;
  }
  auto job = prepare(request, chat);
  if (!job) {
    const std::string body = error_body(job.error());
    bytes = body.size();
    net::Headers headers;
    headers.add("Content-Type", "application/json");
    co_await response.send(job.error().status, std::move(headers), body);
    co_return job.error().status;
  }
  ++generations_;
  ++server_load_;
  const std::shared_ptr<Generation> generation = job->generation;
  response.on_disconnect([driver = driver_.get(), generation] { driver->abort(*generation); });
  int status = 0;
  if (job->request.stream) {
    status = co_await stream(*job, response, bytes);
  } else {
    status = co_await answer(*job, request, response, bytes);
  }
  response.on_disconnect({});
  // Whatever went wrong above, nothing may go on generating for nobody.
  driver_->abort(*generation);
  --server_load_;
  co_return status;
}

net::Task<int> EngineServer::answer(Job& job, const net::ServerRequest& request,
                                    net::ServerResponse& response, std::uint64_t& bytes) {
  Generation& g = *job.generation;
  while (!g.finished) co_await g.wake.wait();
  if (g.failed || response.disconnected()) {
    response.abort();
    co_return 0;
  }
  net::Headers headers = answer_headers(job, "application/json");
  add_load_report(request, driver_->engine().stats(), headers);
  const std::string body =
      job.text.complete(job.piece(0, g.generated), job.finish_reason(), job.stop_reason,
                        job.usage(g.generated, options_.prompt_tokens_details));
  bytes = body.size();
  co_await response.send(200, std::move(headers), body);
  co_return 200;
}

net::Task<int> EngineServer::stream(Job& job, net::ServerResponse& response, std::uint64_t& bytes) {
  Generation& g = *job.generation;
  auto sent = co_await response.start(200, answer_headers(job, "text/event-stream; charset=utf-8"));
  std::int64_t shown = 0;
  std::string out;
  while (sent) {
    out.clear();
    while (shown < g.generated) {
      // The first token leaves alone, then every stream_interval tokens, as vLLM.
      const std::int64_t step = shown == 0 ? 1 : options_.stream_interval;
      if (g.generated - shown < step && !g.finished) break;
      const std::int64_t next = std::min(shown + step, g.generated);
      const bool last = g.finished && next == g.generated;
      const Usage usage = job.usage(next, options_.prompt_tokens_details);
      job.text.append_chunk(out, job.piece(shown, next), last ? job.finish_reason() : "",
                            last ? job.stop_reason : "",
                            job.request.continuous_usage_stats ? &usage : nullptr);
      shown = next;
    }
    if (g.failed || response.disconnected()) {
      response.abort();
      co_return 0;
    }
    bytes += out.size();
    if (g.finished) break;
    if (!out.empty()) sent = co_await response.write(out);
    // Progress during the write is remembered: this returns at once then.
    if (sent) co_await g.wake.wait();
  }
  if (!sent) co_return 0;
  if (job.request.include_usage)
    job.text.append_usage_chunk(out, job.usage(g.generated, options_.prompt_tokens_details));
  out += kDoneEvent;
  co_await response.finish(out);
  co_return 200;
}

}  // namespace lodestar::emulator
