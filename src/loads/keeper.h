#pragma once
#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "gateway/cluster.h"
#include "loads/label.h"

namespace outlast::loads {

/// One look at all labels of a database, by the leader frontend: loads whose owner is gone or too late are applied when
/// they were committed, else aborted and swept; labels that ended `keep` ago are removed. Sentences about what was
/// done, for the log. Costs one read when there is nothing to do.
boost::asio::awaitable<Result<std::vector<std::string>>> look_after(gateway::Cluster& cluster, std::string database,
                                                                    Duration keep);

}  // namespace outlast::loads
