#include "ingest/input/udp.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
constexpr Duration kForever = Duration::max();
constexpr Duration kAfterError = 100ms;
constexpr Duration kLastLook = 5ms;

timespec to_timespec(Duration d) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(d);
  return {static_cast<time_t>(seconds.count()), static_cast<long>((d - seconds).count())};
}
}  // namespace

UdpInput::UdpInput(InputOptions options, Intake& intake)
    : options_(std::move(options)),
      intake_(intake),
      socket_(options_.socket),
      room_(std::make_shared<Wake>()),
      datagrams_(UdpPace::kBatchMax, options_.message_size_max),
      peers_(options_.allow),
      bucket_(options_.rate_max),
      batch_(options_.held),
      batch_payload_(batch_.bytes()),
      last_read_(options_.read_since),
      stats_(std::make_shared<InputStats>()) {}

UdpInput::~UdpInput() {
  stop();
}

Result<void> UdpInput::start() {
  if (socket_.get() < 0) {
    ASSIGN_OR_RETURN(socket_, open_socket(options_.listen, true));
  }
  if (!options_.closed) TRY(admit_senders(socket_.get()));
  const int fd = socket_.get(), on = 1;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
  drops_before_ = drops_seen_ = kernel_drops(fd);
  taking_over_ = options_.read_since != Instant{};
  queue_was_empty_ = !taking_over_;
  buffer_ = grow_receive_buffer(fd, options_.receive_buffer_min, warning_);
  if (!warning_.empty()) spdlog::warn("ingest: input {}: {}", options_.name, warning_);
  stats_->receive_buffer = buffer_;
  if (options_.closed) close();
  thread_ = std::thread([this] { run(); });
  return {};
}

void UdpInput::run() {
  put();
  while (!stopping_.load(std::memory_order_acquire)) {
    follow_door();
    read_once();
  }
}

void UdpInput::read_once() {
  const Instant now = noted_gap();
  const std::size_t wanted = pace_.batch();
  const int count = datagrams_.read(socket_.get(), wanted);
  if (count < 0) {
    spdlog::error("ingest: input {} cannot read its socket: {}", options_.name, std::strerror(errno));
    wait_for(-1, kAfterError);
    return;
  }
  if (taking_over_) note_taken_over(static_cast<std::size_t>(count), wanted);
  if (count == 0) {
    gather_ = Duration::zero();
    queue_was_empty_ = true;
    note_empty();
    return;
  }
  last_read_ = now;
  queue_was_empty_ = false;
  take(static_cast<std::size_t>(count));
  put();
  if (gather_ > Duration::zero()) wait_for(-1, gather_);
}

void UdpInput::note_empty() {
  // What was on its way up when senders were refused may still come.
  const bool again = refuses_ && ++empty_looks_ == 1;
  if (refuses_ && !again) closed_ = true;
  wait_for(again ? -1 : socket_.get(), again ? kLastLook : kForever);
}

void UdpInput::turn_door(bool closing) {
  if (closing_.exchange(closing) != closing) told_.signal();
}

void UdpInput::follow_door() {
  const bool wanted = closing_;
  if (wanted == refuses_) return;
  const auto turned = wanted ? refuse_senders(socket_.get()) : admit_senders(socket_.get());
  if (!turned.ok()) spdlog::error("ingest: input {}: {}", options_.name, turned.error().message);
  refuses_ = wanted;
  closed_ = false;
  empty_looks_ = 0;
}

// Until a read comes back with less than it asked for: the queue is empty then.
void UdpInput::note_taken_over(std::size_t datagrams, std::size_t wanted) {
  if (stats_->queued == 0 && boot_now() < options_.read_since) InputStats::add(stats_->order_breaks, 1);
  InputStats::add(stats_->queued, datagrams);
  taking_over_ = datagrams == wanted;
}

// The time since the last read in which the kernel may have had something for us.
Instant UdpInput::noted_gap() {
  const Instant now = boot_now();
  if (!queue_was_empty_)
    InputStats::raise(stats_->longest_gap_nanos, static_cast<std::uint64_t>((now - last_read_).count()));
  return now;
}

void UdpInput::take(std::size_t datagrams) {
  const std::uint64_t within = bucket_.take(datagrams, last_read_);
  InputStats::add(stats_->limited, datagrams - within);
  const auto done = datagrams_.append_to(batch_, within, wall_now_micros(), peers_);
  batch_payload_ = done.bytes;
  InputStats::add(stats_->cut, done.cut);
  InputStats::add(stats_->disallowed, done.disallowed);
  if (const auto drops = datagrams_.drops()) count_drops(*drops);
  gather_ = pace_.after_read(datagrams, done.bytes, last_read_, buffer_);
  if (pace_.highest_rate() > buffer_for_ * 1.25) look_after_buffer();
}

// All of the batch, or as much as there is room for until stop().
void UdpInput::put() {
  if (batch_.empty()) return;
  const std::uint64_t records = batch_.records();
  for (;;) {
    const Intake::Taken taken =
        intake_.put(options_.tag, batch_, options_.ack, [stats = stats_, records](Result<void> r) {
          if (!r.ok()) InputStats::add(stats->unconfirmed, records);
        });
    if (taken == Intake::Taken::kWait) {
      InputStats::add(stats_->waits, 1);
      if (stopping_.load(std::memory_order_acquire)) return;
      intake_.on_room([room = room_] { room->signal(); });
      wait_for(room_->fd(), kForever);
      room_->clear();
      continue;
    }
    if (taken == Intake::Taken::kRefused) {
      InputStats::add(stats_->refused, records);
    } else {
      InputStats::add(stats_->records, records);
      InputStats::add(stats_->bytes, batch_payload_);
      InputStats::add(stats_->batches, 1);
    }
    batch_.clear();
    return;
  }
}

void UdpInput::wait_for(int fd, Duration longest) {
  pollfd fds[2] = {{told_.fd(), POLLIN, 0}, {fd, POLLIN, 0}};
  const timespec timeout = longest == kForever ? timespec{} : to_timespec(longest);
  ppoll(fds, fd < 0 ? 1 : 2, longest == kForever ? nullptr : &timeout, nullptr);
  if (fds[0].revents == 0 || stopping_.load(std::memory_order_acquire)) return;
  told_.clear();
  follow_door();  // whoever waits for room may do so for long
}

// Large enough for nobody to read for `pause` at the highest rate seen.
void UdpInput::look_after_buffer() {
  buffer_for_ = pace_.highest_rate();
  const std::uint64_t needed = std::clamp(receive_buffer_for(buffer_for_, pace_.datagram_bytes(), options_.pause),
                                          options_.receive_buffer_min, options_.receive_buffer_max);
  if (needed <= buffer_) return;
  std::string warning;
  buffer_ = grow_receive_buffer(socket_.get(), needed, warning);
  stats_->receive_buffer = buffer_;
  const std::lock_guard lock(mutex_);
  if (!warning.empty() && warning_.empty()) spdlog::warn("ingest: input {}: {}", options_.name, warning);
  if (!warning.empty()) warning_ = warning;
}

void UdpInput::count_drops(std::uint32_t drops) {
  const std::lock_guard lock(mutex_);
  // A datagram carries the count of when it was queued: older than what counters() may have asked for since.
  if (static_cast<std::int32_t>(drops - drops_seen_) <= 0) return;
  stats_->kernel_drops += drops - drops_seen_;
  drops_seen_ = drops;
}

InputCounters UdpInput::counters() const {
  const std::lock_guard lock(mutex_);
  if (socket_.get() >= 0) {
    const std::uint32_t drops = kernel_drops(socket_.get());
    stats_->kernel_drops += drops - drops_seen_;
    drops_seen_ = drops;
  }
  return stats_->now();
}

std::uint16_t UdpInput::port() const {
  return socket_.get() < 0 ? 0 : bound_port(socket_.get());
}

std::string UdpInput::warning() const {
  const std::lock_guard lock(mutex_);
  return warning_;
}

StopReport UdpInput::stop() {
  if (!thread_.joinable()) return {report_.records, report_.kernel_drops, report_.read_until, {}};
  stopping_.store(true, std::memory_order_release);
  told_.signal();
  thread_.join();
  const InputCounters counted = counters();
  report_ = {counted.records, counted.kernel_drops, queue_was_empty_ ? boot_now() : last_read_, {}};
  StopReport report = report_;
  report.held = std::exchange(batch_, {});
  const std::lock_guard lock(mutex_);
  socket_ = Fd();
  return report;
}

}  // namespace outlast::ingest
