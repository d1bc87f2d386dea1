#pragma once
#include "lifecycle/rolling.h"
#include "placement/view.h"

namespace outlast::tasks {

/// Which of the candidates may be replaced together now: placement::safe_to_stop, and who may be replaced by a
/// zero-downtime restart although none may stop. Pure.
lifecycle::RollingChoice choose_to_restart(const placement::ClusterView& view, std::vector<NodeId> candidates,
                                           std::vector<NodeId> absent, std::size_t max);

/// The batches that a rolling restart of these nodes would have if nothing else happened meanwhile; `last` comes last.
/// Nodes that nothing makes possible now are left out: see safe_to_stop for the reason.
std::vector<std::vector<NodeId>> plan_batches(const placement::ClusterView& view, std::vector<NodeId> nodes,
                                              NodeId last, const lifecycle::RollingOptions& options);

}  // namespace outlast::tasks
