/* Why fast reads need no more than bounded clock rates (protocol A1, A2): one leaseholder that renews its liveness record,
 * one observer that may fence it, the metadata store between them, and time in ticks. The range's model takes from here
 * that no incarnation is fenced before its deadline for fast reads has passed.
 *
 * Ages are ticks since an event, counted by the clock of the one who reads them, up to TTL, where no more matters. The
 * observer's clock gains at most one tick within one TTL. With PROMPT a store that is up answers within a tick, and the
 * property is another: then nobody fences a leaseholder that lives, however long the store was away before. */

#define TTL 5
#ifdef BUG_NO_DRIFT_MARGIN
#define LEASE TTL
#else
#define LEASE (TTL - 1)       /* ttl * (1 - 2 * drift), below ttl by what the observer's clock can gain */
#endif

bool store_up = true;
bool fenced;                  /* in the store */

/* The leaseholder. */
byte lease_age;               /* since the sending of the last confirmed renewal */
mtype = { idle, sent, stored };
mtype renewal = idle;
byte renewal_age;             /* since the sending of the one under way */

/* The observer. */
byte silence;                 /* since it received the last change of the record */
byte session;                 /* since it (re)connected */
bool unseen;                  /* the record has changed and the watch has not told yet */
bool gained;                  /* its clock has gained a tick within this silence */

#define OLDER(age) (age < TTL -> age + 1 : TTL)
#define READS_FAST (lease_age < LEASE)

#ifdef PROMPT
#define MAY_TICK (!store_up || (renewal == idle && !unseen && lease_age == 0) || fenced)
#else
#define MAY_TICK true
#endif
#ifdef BUG_SESSION_NOT_COUNTED
#define SESSION_OLD true
#else
#define SESSION_OLD (session >= TTL)
#endif
#ifdef BUG_FENCE_WITHOUT_COMPARE
#define UNCHANGED true
#else
#define UNCHANGED (!unseen)
#endif

active proctype leaseholder() {
end_holder:
  do
  :: d_step { renewal == idle && !fenced -> renewal = sent; renewal_age = 0 }
  :: d_step { renewal == sent && store_up && !fenced -> renewal = stored; unseen = true }
  :: d_step { renewal == stored ->           /* the answer arrives */
#ifdef BUG_LEASE_FROM_ANSWER
              lease_age = 0;
#else
              lease_age = (renewal_age < lease_age -> renewal_age : lease_age);
#endif
              renewal = idle; renewal_age = 0 }
#ifndef PROMPT
  :: d_step { renewal != idle -> renewal = idle; renewal_age = 0 }  /* lost, before or after the store took it */
#endif
  od
}

active proctype observer() {
end_observer:
  do
  :: d_step { unseen && store_up -> unseen = false; silence = 0; gained = false }
  :: d_step { store_up && !fenced && silence >= TTL && SESSION_OLD && UNCHANGED -> fenced = true;
#ifdef PROMPT
              assert(false)            /* it lives, and the store has answered whenever it was up */
#else
              assert(!READS_FAST)      /* I4 */
#endif
            }
  od
}

active proctype time() {
end_time:
  do
  :: d_step { MAY_TICK -> lease_age = OLDER(lease_age); renewal_age = (renewal != idle -> OLDER(renewal_age) : 0);
              silence = OLDER(silence); session = (store_up -> OLDER(session) : 0) }
  :: d_step { !gained && silence > 0 && silence < TTL -> silence++; gained = true }
  :: d_step { store_up -> store_up = false; session = 0 }
  :: d_step { !store_up -> store_up = true; session = 0 }
  od
}
