// SPDX-License-Identifier: Apache-2.0
// One routed request from its body to the last byte of its answer, on one worker.
// Internal to proxy/.
//
// Every lease settles exactly once: Ended, LeaseFailed or AttemptFailed by name, or
// Aborted for all that is left when the exchange is destroyed, whatever the reason.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/server.h"
#include "proxy/proxy.h"
#include "proxy/stream_observer.h"
#include "proxy/usage_filter.h"

namespace lodestar::proxy {

class Exchange {
 public:
  // The response and the request outlive the exchange.
  Exchange(std::shared_ptr<Proxy> proxy, std::shared_ptr<Worker> worker,
           net::ServerRequest& request, net::ServerResponse& response, Api api);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  net::Task<void> run();

 private:
  // How one placement or attempt ended.
  struct Attempt {
    // kAnswered: this step is done. kDone: the client has its answer, no step follows.
    enum class Kind { kAnswered, kFailed, kGone, kDone } kind = Kind::kAnswered;
    LeaseId lease;            // kFailed: the one that failed
    ErrorCode error = ErrorCode::kConnection;
  };
  // An answer of an engine that may still be replaced by another engine's.
  struct KeptAnswer {
    int status;
    net::Headers headers;
    std::string body;
  };
  // What the disconnect hook and the router's cancel may touch after us.
  struct Link {
    std::shared_ptr<net::Cancel> cancel;
    LeaseId lease;
  };

  Result<ParsedRequest> parse();
  bool privileged() const;
  net::Task<void> route(ParsedRequest parsed);
  net::Task<Attempt> attempt(const Dispatch& dispatch);
  net::Task<Attempt> prefill(Placement placement);
  net::Task<Attempt> full(Placement placement, const Dispatch& dispatch);
  net::Task<Attempt> relay(net::ResponseStream stream, LeaseId lease, net::Headers headers);
  net::Task<Attempt> keep_answer(net::ResponseStream stream, LeaseId lease);
  net::Task<Attempt> pass_refusal(net::ResponseStream stream, net::Headers headers);
  net::Task<Result<net::ResponseStream>> send_upstream(Placement placement, std::string_view body);
  net::Task<void> send_reject(Reject reject);
  net::Task<void> send_failure();
  net::Task<void> send_unavailable(std::string message, std::string code);
  net::Headers answer_headers(const net::Headers& upstream, const Placement& placement,
                              const Dispatch& dispatch) const;
  Attempt failed(LeaseId lease, const Error& error, const char* what);
  std::string error_event(ErrorCode error, bool at_boundary) const;
  void observe_piece(StreamObserver& observer, LeaseId lease);
  void settle_end(const StreamObserver& observer, LeaseId lease);
  void settle_cut(LeaseId lease, ErrorCode error);
  void watch_client();

  const std::shared_ptr<Proxy> owner_;
  Proxy& proxy_;
  std::shared_ptr<Worker> worker_;
  net::ServerRequest& request_;
  net::ServerResponse& response_;
  Api api_;
  std::string request_id_;
  std::string served_model_;
  std::string policy_;               // the override, if any
  bool exposed_ = false;             // may see where it went
  bool wants_usage_ = false;
  bool stream_ = false;
  bool inject_usage_ = false;
  TimeNs deadline_ = kNever;
  std::shared_ptr<Ticket> ticket_;
  bool settled_ = true;              // the router owes us nothing and we it nothing
  bool entered_ = false;
  bool spare_leases_ = false;         // placements that will never run
  bool placed_ = false;              // an instance was found: the model is known
  int status_ = 0;                   // as the client saw it; 0: none
  std::int64_t progress_sent_ = 0;
  bool first_token_sent_ = false;
  std::optional<KeptAnswer> kept_;
  Error last_error_;
  std::shared_ptr<Link> link_;
};

}  // namespace lodestar::proxy
