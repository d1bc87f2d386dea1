#include "gateway/listing.h"

namespace outlast::gateway {
namespace {
using Kind = ListingColumn::Kind;

constexpr ListingColumn kNodes[] = {{Kind::kInteger, "id"},
                                    {Kind::kText, "address"},
                                    {Kind::kText, "sql_address"},
                                    {Kind::kText, "build"},
                                    {Kind::kText, "started_at"},
                                    {Kind::kText, "locality"},
                                    {Kind::kBoolean, "is_available"},
                                    {Kind::kBoolean, "is_live"},
                                    {Kind::kText, "liveness"},
                                    {Kind::kInteger, "replicas"},
                                    {Kind::kInteger, "leases"},
                                    {Kind::kBoolean, "is_decommissioning"},
                                    {Kind::kText, "membership"},
                                    {Kind::kBoolean, "is_draining"},
                                    {Kind::kBoolean, "is_leader_frontend"},
                                    {Kind::kText, "roles"}};
constexpr ListingColumn kRanges[] = {
    {Kind::kInteger, "range"},       {Kind::kText, "database"},      {Kind::kInteger, "epoch"},
    {Kind::kInteger, "leaseholder"}, {Kind::kText, "in_sync"},       {Kind::kText, "learners"},
    {Kind::kInteger, "rf"},          {Kind::kInteger, "min_insync"}, {Kind::kBoolean, "clean"}};
constexpr ListingColumn kPartitions[] = {
    {Kind::kText, "database"}, {Kind::kText, "table"},    {Kind::kText, "partition"},      {Kind::kText, "first_key"},
    {Kind::kText, "last_key"}, {Kind::kInteger, "range"}, {Kind::kInteger, "leaseholder"}, {Kind::kText, "in_sync"},
    {Kind::kText, "state"},    {Kind::kText, "change"}};
constexpr ListingColumn kTasks[] = {{Kind::kInteger, "id"},         {Kind::kText, "kind"},
                                    {Kind::kText, "state"},         {Kind::kText, "stage"},
                                    {Kind::kText, "nodes"},         {Kind::kText, "started_at"},
                                    {Kind::kText, "ended_at"},      {Kind::kInteger, "replicas_left"},
                                    {Kind::kInteger, "bytes_left"}, {Kind::kInteger, "eta_ms"},
                                    {Kind::kText, "stall"},         {Kind::kText, "requested_by"},
                                    {Kind::kText, "outcome"}};
// StarRocks' names, for what has a meaning here.
constexpr ListingColumn kFrontends[] = {{Kind::kInteger, "Id"},        {Kind::kText, "Name"},
                                        {Kind::kText, "IP"},           {Kind::kInteger, "HttpPort"},
                                        {Kind::kInteger, "QueryPort"}, {Kind::kInteger, "RpcPort"},
                                        {Kind::kText, "Role"},         {Kind::kText, "IsMaster"},
                                        {Kind::kText, "Alive"},        {Kind::kText, "LastHeartbeat"},
                                        {Kind::kText, "ErrMsg"},       {Kind::kText, "StartTime"},
                                        {Kind::kText, "Version"},      {Kind::kInteger, "NumRunningQueries"},
                                        {Kind::kText, "StatusCode"}};
constexpr ListingColumn kBackends[] = {{Kind::kInteger, "BackendId"},
                                       {Kind::kText, "IP"},
                                       {Kind::kInteger, "HeartbeatPort"},
                                       {Kind::kInteger, "BePort"},
                                       {Kind::kInteger, "HttpPort"},
                                       {Kind::kText, "LastStartTime"},
                                       {Kind::kText, "LastHeartbeat"},
                                       {Kind::kText, "Alive"},
                                       {Kind::kText, "SystemDecommissioned"},
                                       {Kind::kInteger, "TabletNum"},
                                       {Kind::kInteger, "AvailCapacity"},
                                       {Kind::kInteger, "TotalCapacity"},
                                       {Kind::kText, "ErrMsg"},
                                       {Kind::kText, "Version"},
                                       {Kind::kInteger, "NumRunningQueries"},
                                       {Kind::kText, "Location"},
                                       {Kind::kText, "StatusCode"}};
constexpr ListingColumn kComputeNodes[] = {
    {Kind::kInteger, "ComputeNodeId"}, {Kind::kText, "IP"},          {Kind::kInteger, "HeartbeatPort"},
    {Kind::kInteger, "BePort"},        {Kind::kInteger, "HttpPort"}, {Kind::kText, "LastStartTime"},
    {Kind::kText, "LastHeartbeat"},    {Kind::kText, "Alive"},       {Kind::kText, "SystemDecommissioned"},
    {Kind::kText, "ErrMsg"},           {Kind::kText, "Version"},     {Kind::kInteger, "NumRunningQueries"},
    {Kind::kText, "StatusCode"}};
}  // namespace

std::optional<Listing> find_listing(std::string_view word) {
  if (word == "nodes") return Listing::kNodes;
  if (word == "ranges") return Listing::kRanges;
  if (word == "tasks") return Listing::kTasks;
  if (word == "partitions") return Listing::kPartitions;
  if (word == "frontends") return Listing::kFrontends;
  if (word == "backends") return Listing::kBackends;
  if (word == "compute nodes") return Listing::kComputeNodes;
  return std::nullopt;
}

std::span<const ListingColumn> listing_columns(Listing listing) {
  switch (listing) {
    case Listing::kNodes:
      return kNodes;
    case Listing::kRanges:
      return kRanges;
    case Listing::kTasks:
      return kTasks;
    case Listing::kPartitions:
      return kPartitions;
    case Listing::kFrontends:
      return kFrontends;
    case Listing::kBackends:
      return kBackends;
    case Listing::kComputeNodes:
      return kComputeNodes;
  }
  return {};
}

}  // namespace outlast::gateway
