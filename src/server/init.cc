#include "server/init.h"

#include "meta/identity.h"
#include "server/asio_loop.h"
#include "server/blocking.h"
#include "server/join.h"
#include "server/meta_url.h"

namespace outlast::server {

Result<std::string> init_cluster(const std::string& meta_url) {
  AsioLoop loop;
  ASSIGN_OR_RETURN(std::unique_ptr<meta::Store> store, open_meta(meta_url, loop));
  const std::string id = new_uuid();
  const auto initialised = wait_on<void>(
      loop, [&](Callback<void> done) { meta::init_cluster(*store, id, loop.wall_micros(), std::move(done)); });
  loop.run_and_wait([&] { store.reset(); });
  if (!initialised.ok()) return initialised.error();
  return id;
}

}  // namespace outlast::server
