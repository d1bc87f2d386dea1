#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "meta/store.h"
#include "server/metrics.h"

namespace outlast::server {

/// Opens the metadata store that `--meta` names: "embedded:DIR" makes the directory when it is missing, "etcd://…" is
/// docs/metadata.md's. Errors: kInvalidArgument for another kind, with the forms that this version knows; the store's.
Result<std::unique_ptr<meta::Store>> open_meta(const std::string& url, Loop& loop);

/// Is this such a URL? Opens nothing. kInvalidArgument as open_meta.
Result<void> check_meta_url(const std::string& url);

/// The directory where the processes of one machine prove their deaths to each other (meta/life_locks.h); empty for a
/// store that spans machines.
std::string life_lock_directory(const std::string& meta_url);

/// Why it does not answer, in words; empty when it does.
std::string meta_problem(const meta::Store& store);
/// What /metrics shows of it.
void meta_samples(const meta::Store& store, std::vector<Sample>& out);

}  // namespace outlast::server
