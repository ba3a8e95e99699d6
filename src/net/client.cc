// SPDX-License-Identifier: Apache-2.0
#include "net/client.h"

#include <algorithm>
#include <string>
#include <utility>

#include "net/client_impl.h"

namespace lodestar::net {

std::unexpected<Error> upstream_error(const Url& url, ErrorCode code, std::string_view message,
                                      Retry retry) {
  std::string text = url.authority();
  text += ": ";
  text += message;
  return fail(code, std::move(text), ErrorSource::kUpstream, retry);
}

void Cancel::cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  if (const auto hook = std::exchange(hook_, nullptr)) hook();
}

ClientPool::Core::Core(Executor ex, Url upstream, ClientOptions client_options)
    : executor(ex),
      url(std::make_shared<const Url>(std::move(upstream))),
      authority(url->port == 80 ? url->host : url->authority()),
      options(client_options),
      sweeper(ex, [this] { sweep(); }) {
  if (url->port == 80 && url->host.find(':') != std::string::npos)
    authority = "[" + url->host + "]";
}

std::shared_ptr<Wire> ClientPool::Core::take_idle() {
  while (!idle.empty()) {
    // The youngest: it is the least likely to be closed by the peer, and the old
    // ones get a chance to age out.
    Idle candidate = std::move(idle.back());
    idle.pop_back();
    if (now_ns() - candidate.since < options.idle_timeout && candidate.wire->quiet()) {
      return std::move(candidate.wire);
    }
    candidate.wire->close();
  }
  return nullptr;
}

void ClientPool::Core::give_back(std::shared_ptr<Wire> wire) {
  if (closing || idle.size() >= options.max_idle) {
    wire->close();
    return;
  }
  wire->in().relax();
  const TimeNs now = now_ns();
  idle.push_back({std::move(wire), now});
  if (idle.size() == 1) sweeper.set(now + options.idle_timeout);
}

// Closes what has been idle too long, and what the peer has closed meanwhile.
void ClientPool::Core::sweep() {
  const TimeNs now = now_ns();
  std::erase_if(idle, [&](const Idle& i) {
    const bool drop = now - i.since >= options.idle_timeout || !i.wire->quiet();
    if (drop) i.wire->close();
    return drop;
  });
  if (!idle.empty())
    sweeper.set(std::max(now + kMillisecond, idle.front().since + options.idle_timeout));
}

namespace {

std::string make_head(const ClientPool::Core& core, const RequestHead& request,
                      std::size_t body_size) {
  std::string out;
  out.reserve(512);
  RequestHead line;
  line.method = request.method;
  line.target = core.url->base_path + request.target;
  write_request_head(out, line);
  if (const std::string* host = request.headers.find("host")) {
    write_header(out, "host", *host);
  } else {
    write_header(out, "host", core.authority);
  }
  for (const Header& h : request.headers) {
    if (equal_ignoring_case(h.name, "host") || equal_ignoring_case(h.name, "content-length") ||
        equal_ignoring_case(h.name, "transfer-encoding") ||
        equal_ignoring_case(h.name, "connection") || equal_ignoring_case(h.name, "expect")) {
      continue;
    }
    write_header(out, h.name, h.value);
  }
  const bool bodyless = request.method == "GET" || request.method == "HEAD";
  if (body_size > 0 || !bodyless) write_header(out, "content-length", std::to_string(body_size));
  out += "\r\n";
  return out;
}

DurationNs choose(DurationNs own, DurationNs usual) { return own >= 0 ? own : usual; }

// Reads until a final response head has come. kOk, or why not; `error` for a
// head that is no HTTP.
Task<Io> read_head(ResponseStream::Impl& stream, bool head_request, TimeNs deadline,
                   ParseError& error) {
  ReadBuffer& in = stream.wire->in();
  const HeadLimits limits{stream.core->options.max_header_bytes, 256};
  std::size_t scanned = 0;
  for (;;) {
    if (in.size() > 0 && stream.head_at == 0) stream.head_at = now_ns();
    if (in.size() >= 5 && !in.view().starts_with("HTTP/")) {
      error = {400, "what came is not HTTP"};
      co_return Io::kOk;
    }
    if (const std::size_t end = find_head_end(in.view(), scanned)) {
      stream.head = ResponseHead();
      error = parse_response_head(in.view().substr(0, end), limits, head_request, stream.head,
                                  stream.framing);
      in.consume(end);
      if (!error && stream.head.status == 101)
        error = {400, "the upstream switched protocols unasked"};
      if (error || stream.head.status >= 200) co_return Io::kOk;
      scanned = 0;
      continue;
    }
    if (in.size() >= limits.max_bytes) {
      error = {400, "the response head is too large"};
      co_return Io::kOk;
    }
    const Io io = co_await stream.wire->fill(deadline);
    if (io != Io::kOk) co_return io;
  }
}

Error head_error(const ResponseStream::Impl& stream, Io io, bool wrote) {
  const Url& url = *stream.core->url;
  if (stream.cancel && stream.cancel->cancelled()) {
    return upstream_error(url, ErrorCode::kConnection, "cancelled", Retry::kNo).error();
  }
  if (io == Io::kTimeout) {
    return upstream_error(url, ErrorCode::kTimeout,
                          wrote ? "no response in time" : "the request could not be sent in time",
                          Retry::kNo)
        .error();
  }
  const bool stale = stream.reused && stream.head_at == 0;
  return upstream_error(url, ErrorCode::kConnection,
                        stale ? "the pooled connection had been closed"
                              : "the connection broke before the response",
                        stale ? Retry::kOnlyIfReused : Retry::kNo)
      .error();
}

Task<Result<std::unique_ptr<ResponseStream::Impl>>> attempt(std::shared_ptr<ClientPool::Core> core,
                                                            std::shared_ptr<Wire> wire, bool reused,
                                                            const RequestHead& request,
                                                            std::string_view body,
                                                            const RequestOptions& options) {
  auto stream = std::make_unique<ResponseStream::Impl>(core, std::move(wire), options.cancel);
  stream->reused = reused;
  stream->deadline = options.deadline;
  stream->read_timeout = choose(options.read_timeout, core->options.read_timeout);
  const std::string head = make_head(*core, request, body.size());
  Wire::Pieces pieces{head, body, {}};
  Io io = Io::kOk;
  bool wrote = stream->wire->try_write(pieces, io);
  if (!wrote && io == Io::kOk) {
    const auto timeout = choose(options.write_timeout, core->options.write_timeout);
    io = co_await stream->wire->write(pieces, std::min(options.deadline, now_ns() + timeout));
    wrote = io == Io::kOk;
  }
  stream->sent = now_ns();
  // A peer may answer (413, say) and close before it has read everything: then the
  // write breaks, but the answer is there.
  if (wrote || io == Io::kReset) {
    const auto timeout = choose(options.first_byte_timeout, core->options.first_byte_timeout);
    ParseError error;
    io = co_await read_head(*stream, request.method == "HEAD",
                            std::min(options.deadline, stream->sent + timeout), error);
    if (error) {
      stream->failed = true;
      co_return upstream_error(*core->url, ErrorCode::kProtocol, error.message, Retry::kNo);
    }
  }
  if (io != Io::kOk) {
    stream->failed = true;
    co_return std::unexpected(head_error(*stream, io, wrote));
  }
  if (!wrote) stream->head.keep_alive = false;
  stream->left = stream->framing.length;
  stream->ended = stream->framing.kind == BodyKind::kNone;
  co_return std::move(stream);
}

}  // namespace

ClientPool::ClientPool(Executor executor, Url upstream, ClientOptions options)
    : core_(std::make_shared<Core>(executor, std::move(upstream), options)) {}

ClientPool::~ClientPool() {
  core_->closing = true;
  close_idle();
}

Task<Result<ResponseStream>> ClientPool::request(RequestHead head, std::string_view body,
                                                 RequestOptions options) {
  const auto core = core_;  // the pool may be destroyed while we wait
  for (bool fresh = false;; fresh = true) {
    if (options.cancel && options.cancel->cancelled()) {
      co_return upstream_error(*core->url, ErrorCode::kConnection, "cancelled", Retry::kNo);
    }
    std::shared_ptr<Wire> wire = fresh ? nullptr : core->take_idle();
    const bool reused = wire != nullptr;
    if (!wire) {
      if (core->in_use >= core->options.max_connections) {
        co_return upstream_error(*core->url, ErrorCode::kUnavailable,
                                 "too many connections to this upstream", Retry::kYes);
      }
      ++core->in_use;  // while connecting
      const auto timeout = choose(options.connect_timeout, core->options.connect_timeout);
      auto connected =
          co_await connect(core->executor, core->url,
                           std::min(options.deadline, now_ns() + timeout), options.cancel);
      --core->in_use;
      if (!connected) co_return std::unexpected(connected.error());
      wire = std::move(*connected);
    }
    auto stream = co_await attempt(core, std::move(wire), reused, head, body, options);
    if (stream) co_return ResponseStream(std::move(*stream));
    const bool again = stream.error().retry == Retry::kOnlyIfReused && options.retry_stale;
    if (!again || fresh) co_return std::unexpected(stream.error());
  }
}

Task<Result<Response>> ClientPool::fetch(RequestHead head, std::string_view body,
                                         RequestOptions options, std::size_t max_bytes) {
  auto stream = co_await request(std::move(head), body, std::move(options));
  if (!stream) co_return std::unexpected(stream.error());
  auto text = co_await stream->read_all(max_bytes);
  if (!text) co_return std::unexpected(text.error());
  co_return Response{std::move(stream->head()), std::move(*text)};
}

const Url& ClientPool::upstream() const { return *core_->url; }
std::size_t ClientPool::idle() const { return core_->idle.size(); }
std::size_t ClientPool::in_use() const { return core_->in_use; }

void ClientPool::close_idle() {
  for (auto& i : core_->idle) i.wire->close();
  core_->idle.clear();
}

}  // namespace lodestar::net
