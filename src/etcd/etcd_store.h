#pragma once
#include <memory>

#include "base/loop.h"
#include "etcd/options.h"
#include "etcd/session.h"
#include "meta/store.h"

namespace outlast::etcd {

/// meta::Store over an etcd (3.4 or later) that may be shared with others: all keys lie below Options::prefix. Reads
/// and transactions are linearizable; docs/metadata.md tells what etcd must be given. connected() is true while a
/// member answers and the watch, if there is one, is established there. compact() forgets the history of the whole
/// etcd, of all its keys.
class EtcdStore : public meta::Store {
 public:
  /// From any thread.
  virtual Health health() const = 0;
};

/// Reads the files that the options name and waits a moment for a first answer. An etcd that does not answer yet is no
/// error, the store goes on trying; one that refuses us is.
/// Lifetime: `loop` outlives the store. Destroy it on the loop; callbacks that have not run are dropped.
/// Errors: kIo, kInvalidArgument (files), kInvalidAuthorization.
Result<std::unique_ptr<EtcdStore>> open_etcd(const Options& options, Loop& loop,
                                             Duration first_answer = std::chrono::seconds(2));

}  // namespace outlast::etcd
