// SPDX-License-Identifier: Apache-2.0
// What client.cc, response_stream.cc and connect.cc share. Internal to net/.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "net/client.h"
#include "net/http1.h"
#include "net/wire.h"

namespace lodestar::net {

// An error about the upstream, with its address in front of the message.
std::unexpected<Error> upstream_error(const Url& url, ErrorCode code, std::string_view message,
                                      Retry retry);

// A fresh connection, name look-up included. Every error has Retry::kYes except
// a cancelled one.
Task<Result<std::shared_ptr<Wire>>> connect(Executor executor, std::shared_ptr<const Url> url,
                                            TimeNs deadline, std::shared_ptr<Cancel> cancel);

struct ClientPool::Core : std::enable_shared_from_this<ClientPool::Core> {
  Core(Executor executor, Url upstream, ClientOptions client_options);

  // An idle connection that still looks alive, or nullptr.
  std::shared_ptr<Wire> take_idle();
  void give_back(std::shared_ptr<Wire> wire);
  void sweep();

  struct Idle {
    std::shared_ptr<Wire> wire;
    TimeNs since = 0;
  };

  Executor executor;
  std::shared_ptr<const Url> url;
  std::string authority;
  ClientOptions options;
  std::vector<Idle> idle;  // the oldest first; taken from the end
  std::size_t in_use = 0;
  bool closing = false;    // the pool is gone: nothing is kept
  Watchdog sweeper;
};

struct ResponseStream::Impl {
  Impl(std::shared_ptr<ClientPool::Core> c, std::shared_ptr<Wire> w, std::shared_ptr<Cancel> k);
  ~Impl();

  Task<Result<std::string_view>> read_some();
  // Turns bytes at hand into payload: true if read_some() need not wait, because
  // `piece` has some, the end is reached, or the framing is wrong (`broken`).
  bool pump();

  std::shared_ptr<ClientPool::Core> core;
  std::shared_ptr<Wire> wire;
  std::shared_ptr<Cancel> cancel;
  ResponseHead head;
  Framing framing;
  ChunkedDecoder decoder;
  std::string_view piece;      // decoded, not delivered
  std::size_t used = 0;        // bytes of the buffer that the delivered view covers
  std::uint64_t left = 0;      // of a sized body
  bool ended = false;          // the framing says that the body is complete
  bool failed = false;         // nothing more can be read
  const char* broken = nullptr;  // what is wrong with the framing
  bool reused = false;
  TimeNs sent = 0, head_at = 0;
  DurationNs read_timeout = 0;
  TimeNs deadline = kNever;
};

}  // namespace lodestar::net
