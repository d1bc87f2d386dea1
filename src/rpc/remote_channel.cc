#include "rpc/remote_channel.h"

#include <spdlog/spdlog.h>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>

namespace outlast::rpc {
namespace asio = boost::asio;
using proto::ExecReply;
using proto::ExecRequest;
using proto::ExecUp;
using Answer = std::move_only_function<void(ExecReply)>;

namespace {
ExecReply broken(const Error& error, bool nothing_applied) {
  ExecReply reply;
  reply.mutable_error()->set_code(std::string(facts(error.code).name));
  reply.mutable_error()->set_message(error.message);
  reply.set_nothing_applied(nothing_applied);
  return reply;
}
}  // namespace

struct RemoteChannels::Shared {
  explicit Shared(Hello h) : self(std::move(h)) {}
  const Hello self;
  std::mutex mutex;
  bool stopped{false};
  std::map<std::string, std::shared_ptr<proto::Peer::Stub>> stubs;  // by address
  std::map<std::pair<NodeId, Incarnation>, std::set<Stream*>> open;
  std::set<std::pair<NodeId, Incarnation>> fenced;

  std::shared_ptr<proto::Peer::Stub> stub(const std::string& address) {
    std::shared_ptr<proto::Peer::Stub>& found = stubs[address];
    if (!found)
      found = proto::Peer::NewStub(
          grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), channel_arguments()));
    return found;
  }
};

/// The gRPC end of one channel. Lives until OnDone and until its RemoteChannel is gone.
/// A request is written only after the server's initial metadata came: a failure before that is certain to have
/// started nothing.
class RemoteChannels::Stream final : public grpc::ClientBidiReactor<ExecUp, ExecReply>,
                                     public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<Shared> shared, NodeId node, Incarnation incarnation)
      : shared_(std::move(shared)), key_(node, incarnation) {}

  bool start(const std::string& address) {
    {
      const std::lock_guard lock(shared_->mutex);
      if (shared_->stopped || shared_->fenced.contains(key_)) return false;
      stub_ = shared_->stub(address);
      shared_->open[key_].insert(this);
    }
    keep_ = shared_from_this();
    say_hello(context_, shared_->self, key_.first, key_.second);
    stub_->async()->Execute(&context_, this);
    AddHold();
    StartRead(&incoming_);
    StartCall();
    return true;
  }

  void request(ExecRequest request, Answer answer) {
    std::unique_lock lock(mutex_);
    if (closed_) {
      lock.unlock();
      return answer(broken(why_, true));
    }
    OUTLAST_ASSERT(!answer_, "one request at a time");
    answer_ = std::move(answer);
    sent_ = false;
    *waiting_.mutable_request() = std::move(request);
    if (ready_ && !writing_) write_request();
  }
  void interrupt() {
    const std::lock_guard lock(mutex_);
    if (closed_ || !answer_) return;
    if (!sent_) return;  // the caller's own deadline ends a request that waits for a connection
    if (writing_)
      interrupt_waits_ = true;
    else
      write_interrupt();
  }
  bool alive() {
    const std::lock_guard lock(mutex_);
    return !closed_;
  }
  void cancel() { context_.TryCancel(); }

  void OnReadInitialMetadataDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    if (!ok || closed_) return;
    ready_ = true;
    if (answer_ && !sent_) write_request();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return close();
    Answer answer;
    {
      const std::lock_guard lock(mutex_);
      answer = std::move(answer_);
      answer_ = nullptr;
    }
    ExecReply reply = std::move(incoming_);
    incoming_.Clear();
    StartRead(&incoming_);
    if (answer) answer(std::move(reply));
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok || closed_) return;
    if (interrupt_waits_)
      write_interrupt();
    else if (answer_ && !sent_)
      write_request();
  }
  void OnDone(const grpc::Status& status) override {
    {
      const std::lock_guard lock(shared_->mutex);
      if (const auto it = shared_->open.find(key_); it != shared_->open.end()) {
        it->second.erase(this);
        if (it->second.empty()) shared_->open.erase(it);
      }
    }
    Answer answer;
    bool nothing_applied = false;
    Error why = to_error(status);
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      why_ = why;
      answer = std::move(answer_);
      answer_ = nullptr;
      nothing_applied = !sent_;
    }
    if (answer) answer(broken(why, nothing_applied));
    keep_.reset();
  }

 private:
  void write_request() {
    outgoing_.Swap(&waiting_);
    waiting_.Clear();
    sent_ = writing_ = true;
    StartWrite(&outgoing_);
  }
  void write_interrupt() {
    interrupt_waits_ = false;
    outgoing_.Clear();
    outgoing_.set_interrupt(true);
    writing_ = true;
    StartWrite(&outgoing_);
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      closed_ = true;
    }
    RemoveHold();
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<Stream> keep_;
  const std::pair<NodeId, Incarnation> key_;
  std::shared_ptr<proto::Peer::Stub> stub_;
  grpc::ClientContext context_;
  std::mutex mutex_;
  ExecUp waiting_, outgoing_;
  ExecReply incoming_;
  Answer answer_;
  Error why_{Errc::kUnavailable, "the connection to the leaseholder ended"};
  bool ready_{false}, sent_{false}, writing_{false}, interrupt_waits_{false}, closed_{false};
};

class RemoteChannels::RemoteChannel final : public executor::Channel {
 public:
  RemoteChannel(std::shared_ptr<Shared> shared, NodeId node, Incarnation incarnation, std::string address)
      : stream_(std::make_shared<Stream>(std::move(shared), node, incarnation)) {
    refused_ = !stream_->start(address);
  }
  ~RemoteChannel() override {
    if (!refused_) stream_->cancel();
  }
  asio::awaitable<ExecReply> call(ExecRequest request) override {
    if (refused_) co_return broken(Error(Errc::kUnavailable, "that process of the leaseholder is finished"), true);
    co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(ExecReply)>(
        Begin{}, asio::use_awaitable, stream_, std::move(request));
  }
  void interrupt() override {
    if (!refused_) stream_->interrupt();
  }
  bool alive() const override { return !refused_ && stream_->alive(); }

 private:
  struct Begin {
    template <class Handler>
    void operator()(Handler handler, const std::shared_ptr<Stream>& stream, ExecRequest request) const {
      auto executor = asio::get_associated_executor(handler);
      auto work = asio::make_work_guard(executor);
      auto shared_handler = std::make_shared<Handler>(std::move(handler));
      stream->request(std::move(request), [shared_handler, executor, work](ExecReply reply) mutable {
        asio::post(executor, [shared_handler = std::move(shared_handler), reply = std::move(reply)]() mutable {
          Handler resume = std::move(*shared_handler);
          shared_handler.reset();
          std::move(resume)(std::move(reply));
        });
      });
    }
  };
  std::shared_ptr<Stream> stream_;
  bool refused_{false};
};

RemoteChannels::RemoteChannels(Hello self) : shared_(std::make_shared<Shared>(std::move(self))) {}
RemoteChannels::~RemoteChannels() {
  stop();
}

std::unique_ptr<executor::Channel> RemoteChannels::open(NodeId node, Incarnation incarnation,
                                                        const std::string& address) {
  return std::make_unique<RemoteChannel>(shared_, node, incarnation, address);
}

void RemoteChannels::fence(NodeId node, Incarnation incarnation) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->fenced.insert({node, incarnation});
    if (const auto it = shared_->open.find({node, incarnation}); it != shared_->open.end())
      for (Stream* stream : it->second)
        if (auto held = stream->weak_from_this().lock()) streams.push_back(std::move(held));
  }
  for (const auto& stream : streams) stream->cancel();
}

void RemoteChannels::stop() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopped = true;
    for (const auto& [key, open] : shared_->open)
      for (Stream* stream : open)
        if (auto held = stream->weak_from_this().lock()) streams.push_back(std::move(held));
  }
  for (const auto& stream : streams) stream->cancel();
}

}  // namespace outlast::rpc
