#include "etcd/watches.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace outlast::etcd {
namespace {
using namespace std::chrono_literals;
constexpr Duration kPause = 100ms;      ///< Between streams that end at once.
constexpr Duration kRefusedPause = 1s;  ///< After etcd refused the watch.
constexpr Duration kBehind = 3s;        ///< A confirmed change of our own that is not seen for so long: a new stream.
constexpr std::size_t kStatesAtOnce = 64;  ///< Prefixes read in one transaction.
}  // namespace

Watches::Watches(Session& session, const Codec& codec, Calls& calls, Deliver deliver, std::function<void()> changed_up)
    : session_(session),
      codec_(codec),
      calls_(calls),
      deliver_(std::move(deliver)),
      changed_up_(std::move(changed_up)) {}

Watches::~Watches() {
  if (stream_) stream_->cancel();
}

void Watches::add(Id id, std::string prefix) {
  watches_.push_back({.id = id, .prefix = std::move(prefix)});
  changed_up_();
  read_states();
}

void Watches::drop(Id id) {
  std::erase_if(watches_, [id](const Watch& watch) { return watch.id == id; });
  if (watches_.empty()) {  // whoever comes next begins with a state of its own
    close_stream();
    next_ = 0;
  }
  changed_up_();
}

Watches::Watch* Watches::find(Id id) {
  const auto it = std::ranges::find(watches_, id, &Watch::id);
  return it == watches_.end() ? nullptr : &*it;
}

void Watches::start_anew() {
  close_stream();
  next_ = 0;
  for (Watch& watch : watches_)
    if (watch.state == Watch::State::kLive) watch.state = Watch::State::kWaiting;
  read_states();
}

// ---- States ----------------------------------------------------------------------------------------------------

void Watches::read_states() {
  if (is_reading_) return;
  auto request = std::make_shared<Request>();
  pb::TxnRequest body;
  std::vector<Id> asked;
  for (Watch& watch : watches_) {
    if (watch.state != Watch::State::kWaiting || asked.size() == kStatesAtOnce) continue;
    watch.state = Watch::State::kReading;
    watch.held.clear();
    *body.add_success()->mutable_range() = codec_.range(watch.prefix);
    asked.push_back(watch.id);
  }
  if (asked.empty()) return;
  is_reading_ = true;
  request->body = std::move(body);
  request->deadline = Time::max();
  request->done = [this, asked = std::move(asked)](const Result<pb::TxnResponse>& response) {
    is_reading_ = false;
    if (response.ok()) return on_states(asked, *response);
    spdlog::error("metadata: cannot read what is watched: {}", response.error().message);
    for (Watch& watch : watches_)
      if (watch.state == Watch::State::kReading) watch.state = Watch::State::kWaiting;
    not_before_ = now() + kPause;
  };
  session_.submit(std::move(request));
}

void Watches::on_states(const std::vector<Id>& asked, const pb::TxnResponse& response) {
  const auto revision = static_cast<std::uint64_t>(response.header().revision());
  for (std::size_t i = 0; i < asked.size() && static_cast<int>(i) < response.responses_size(); ++i)
    if (Watch* watch = find(asked[i])) go_live(*watch, revision, response.responses(static_cast<int>(i)).range());
  if (next_ == 0 && !watches_.empty()) next_ = revision + 1;
  read_states();
  open_stream();
}

void Watches::go_live(Watch& watch, std::uint64_t revision, const pb::RangeResponse& state) {
  watch.state = Watch::State::kLive;
  watch.seen = revision;
  meta::WatchBatch reset{
      .kind = meta::WatchBatch::Kind::kReset, .revision = Revision(revision), .state = {}, .events = {}};
  for (const pb::KeyValue& kv : state.kvs()) reset.state.push_back(codec_.key_value(kv));
  deliver_(watch.id, std::move(reset));
  for (meta::WatchBatch& batch : std::exchange(watch.held, {})) {
    if (batch.revision.value <= revision) continue;
    watch.seen = batch.revision.value;
    deliver_(watch.id, std::move(batch));
  }
}

// ---- The stream ------------------------------------------------------------------------------------------------

void Watches::open_stream() {
  if (stream_ || next_ == 0 || watches_.empty() || session_.current() == nullptr || now() < not_before_) return;
  not_before_ = now() + kPause;
  stream_ = WatchStream::open(
      *session_.current(), calls_, codec_.watch_all(next_),
      {.response = [this](const WatchStream& stream, const auto& response) { on_response(stream, response); },
       .ended = [this](const WatchStream& stream, const auto& status) { on_end(stream, status); }});
}

void Watches::close_stream() {
  if (stream_) stream_->cancel();
  stream_.reset();
  set_up(false);
}

void Watches::on_switched() {
  if (stream_ && session_.current() != &stream_->member()) close_stream();
  not_before_ = {};
  open_stream();
}

void Watches::tick() {
  if (now() >= not_before_) read_states();
  open_stream();
  if (!is_up_ || session_.written() < next_ || now() - session_.written_at() < kBehind) return;
  spdlog::warn("metadata: the watch at {} does not show revision {}, which etcd confirmed; watching anew",
               stream_->member().address(), session_.written());
  const Member& member = stream_->member();
  close_stream();
  session_.distrust(member, "its watch stays behind");
}

void Watches::set_up(bool up) {
  if (std::exchange(is_up_, up) != up) changed_up_();
}

void Watches::on_response(const WatchStream& stream, const pb::WatchResponse& response) {
  if (&stream != stream_.get()) return;
  if (response.canceled()) {
    const bool compacted = response.compact_revision() > 0;
    if (compacted)
      spdlog::warn("metadata: etcd has compacted revision {} away, everything watched is read anew", next_);
    else
      spdlog::error("metadata: etcd ends the watch: {}", response.cancel_reason());
    close_stream();
    not_before_ = compacted ? Time() : now() + kRefusedPause;
    if (compacted) start_anew();
    return;
  }
  if (response.created()) return set_up(true);
  if (response.events_size() > 0) return on_events(response);
  // A progress notice: everything up to its revision was sent. (That is true of those which etcd sends by itself, not
  // of the ones that a client of 3.4 may ask for; we never ask.)
  next_ = std::max(next_, static_cast<std::uint64_t>(response.header().revision()) + 1);
}

/// etcd never splits a revision over two responses.
void Watches::on_events(const pb::WatchResponse& response) {
  std::vector<meta::Event> events;
  std::uint64_t revision = 0;
  for (const pb::Event& event : response.events()) {
    const auto at = static_cast<std::uint64_t>(event.kv().mod_revision());
    if (at != revision && !events.empty()) on_revision(revision, std::exchange(events, {}));
    revision = at;
    events.push_back(codec_.event(event));
  }
  on_revision(revision, events);
}

void Watches::on_revision(std::uint64_t revision, const std::vector<meta::Event>& events) {
  if (revision < next_) return;
  next_ = revision + 1;
  session_.saw(revision);
  for (Watch& watch : watches_) {
    if (watch.state == Watch::State::kWaiting || revision <= watch.seen) continue;
    meta::WatchBatch batch{
        .kind = meta::WatchBatch::Kind::kEvents, .revision = Revision(revision), .state = {}, .events = {}};
    for (const meta::Event& event : events)
      if (event.kv.key.starts_with(watch.prefix)) batch.events.push_back(event);
    if (batch.events.empty()) continue;
    if (watch.state == Watch::State::kReading) {
      watch.held.push_back(std::move(batch));
      continue;
    }
    watch.seen = revision;
    deliver_(watch.id, std::move(batch));
  }
}

void Watches::on_end(const WatchStream& stream, const grpc::Status& status) {
  if (&stream != stream_.get()) return;
  const Member& member = stream_->member();
  stream_.reset();
  set_up(false);
  if (!status.ok()) session_.distrust(member, "the watch ended: " + status.error_message());
}

}  // namespace outlast::etcd
