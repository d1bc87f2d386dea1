/* One range with three replicas: its configuration record, the logs, take-over, removal, promotion, fall-back, transfer,
 * release, reads and RESOLVE (protocol A3, A4, A5.4, A5.6, A7), under crashes, false fences and a wiped disk.
 * docs/replication.md maps every action here to the code and says what is left out.
 *
 * Every action is one atomic step of one node, of the metadata store or of the world. A message is the state that it
 * would have carried: what a leaseholder sends is read from it when the receiver takes it (a message that is lost is
 * one that nobody takes), acknowledgements and metadata transactions can be under way for as long as one likes.
 * Budgets bound the run; each configuration in `run` spends them differently. */

#ifndef CRASHES
#define CRASHES 0   /* processes killed; unsynced entries are lost */
#endif
#ifndef FENCES
#define FENCES 0    /* incarnations fenced though they live */
#endif
#ifndef CHANGES
#define CHANGES 0   /* removals and promotions */
#endif
#ifndef FALLS
#define FALLS 0     /* fall-backs */
#endif
#ifndef TRANSFERS
#define TRANSFERS 0
#endif
#ifndef RELEASES
#define RELEASES 0
#endif
#ifndef WIPES
#define WIPES 0     /* stores that lose everything while their process is down */
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef READS
#define READS 0     /* one read at a time; its answer is checked */
#endif
#ifndef RESOLVES
#define RESOLVES 0  /* the first write carries a request id whose outcome a gateway asks for */
#endif
#ifndef DEATHS
#define DEATHS 0    /* of the crashes, those after which the process never comes back */
#endif
#ifndef MIN_INSYNC
#define MIN_INSYNC 2
#endif

#define LSNS WRITES           /* longest log */
#define NOBODY 3
#define ALL 7
#define BIT(n) (1 << (n))
#define IN(n, set) (((set) >> (n)) & 1)
#define COUNT(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))

/* The metadata store: the range record, and the fences. */
byte r_epoch = 1, r_leader = 0, r_incarnation = 0, r_insync = ALL;
byte fences[3];               /* bit i: incarnation i of the node is finished */

/* Disks. An entry is the number of the write that made it; 0 is none. */
byte entries[3 * LSNS];
byte end[3], synced[3];       /* only a leaseholder has entries that are not synced */
byte epoch[3] = 1;            /* accepted; on disk before the first acknowledgement in it (A4.2) */
byte applied[3];              /* LSN of the database file */
byte own_store = ALL;         /* bit n: the store of n is the one that the record's replica names */

/* Processes. */
byte up = ALL;
byte incarnation[3];
mtype = { follower, taking, activating, serving, falling, moving, releasing };
mtype role[3] = follower;
byte v_insync[3];             /* a leaseholder's copy of S */
byte acked[9];                /* [leaseholder * 3 + member]: 1 + LSN acknowledged in this epoch; 0: not activated */
byte ack_on_way[9];
byte fast = ALL;              /* bit n: the deadline for fast reads of n's incarnation has not passed */

/* Metadata transactions, at most one a node: sent until applied or refused, then answered when the node hears of it. */
mtype = { none, remove, promote, take, fall, transfer, release };
mtype t_kind[3] = none;
mtype = { sent, stale, done, refused };  /* stale: the record has changed, its compare will fail */
mtype t_state[3] = sent;
byte t_arg[3], t_epoch[3], t_inc[3];     /* node or S'; the epoch that it begins; incarnation of a transfer's target */

/* History, for the checks. */
byte writes;
byte w_epoch[WRITES + 1], w_lsn[WRITES + 1];
byte committed[LSNS], commit_end;        /* what was acknowledged to a client */
byte passed[16];                         /* by epoch: 1 + node + 3 * incarnation that passed ACTIVATE */

byte gone;                    /* bit n: n died for good */
byte crashes = CRASHES, deaths = DEATHS, false_fences = FENCES, changes = CHANGES, falls = FALLS, transfers = TRANSFERS,
     releases = RELEASES, wipes = WIPES;

#if READS
byte reads = READS;
byte read_at = NOBODY;        /* where it runs */
mtype = { asked_for, taken, valid };
mtype read_state = asked_for; /* the snapshot was taken; it was found valid (A4.6) */
byte read_lsn;                /* what the snapshot sees */
byte read_floor;              /* what was committed when the client asked */
byte read_confirms;           /* members that said "still your epoch" after the snapshot */
#endif
#if RESOLVES
bool on_its_way = true;       /* a write request with an id, to node 0 in epoch 1; the gateway lost sight of it */
byte w_request;               /* the write that it became */
byte poisoned;                /* bit n: n refuses the id in its epoch */
bool not_applied;             /* so it was told to the gateway */
#endif

hidden byte i, j, k, c;

#define E(n, lsn) entries[(n) * LSNS + (lsn) - 1]
#define ACKED(n, m) acked[(n) * 3 + (m)]
#define ON_WAY(n, m) ack_on_way[(n) * 3 + (m)]
#define UP(n) IN(n, up)
#define FENCED(n) IN(incarnation[n], fences[n])
#define LEADS(n) (role[n] != follower && role[n] != taking)
#define LEADERLESS (r_leader == NOBODY || IN(r_incarnation, fences[r_leader]))
/* Members whose acknowledgement a commit of n needs: S, and of both S while a change is in doubt (A4.1). */
#ifdef BUG_PROMOTION_WITHOUT_UNION
#define NEEDED(n) v_insync[n]
#else
#define NEEDED(n) (v_insync[n] | (t_kind[n] == promote -> BIT(t_arg[n]) : 0))
#endif

/* ---- what must hold at every instant; looked at after each action that could break it ---- */
inline check() {
    assert(COUNT(r_insync) >= 2);                                          /* I5 */
    i = 0;
    do
    :: i < 3 ->
       /* I2: the committed prefix is on the disk of every member of S; a wiped store is none (I7). */
       if
       :: IN(i, r_insync) && IN(i, own_store) ->
          assert(synced[i] >= commit_end);
          k = 1;
          do
          :: k <= commit_end -> assert(E(i, k) == committed[k - 1]); k++
          :: else -> break
          od
       :: else
       fi;
       assert(applied[i] <= commit_end);                                   /* I6 */
       k = 1;
       do
       :: k <= applied[i] -> assert(E(i, k) == committed[k - 1]); k++
       :: else -> break
       od;
       i++
    :: else -> break
    od;
#if RESOLVES
    /* I8: a request that was reported as not applied is in no committed prefix. */
    if
    :: not_applied && w_request > 0 ->
       k = 1;
       do
       :: k <= commit_end -> assert(committed[k - 1] != w_request); k++
       :: else -> break
       od
    :: else
    fi;
#endif
    i = 0; k = 0; j = 0; c = 0
}

inline forget_leading(n) {
  v_insync[n] = 0;
  acked[n * 3] = 0; acked[n * 3 + 1] = 0; acked[n * 3 + 2] = 0;
  ack_on_way[n * 3] = 0; ack_on_way[n * 3 + 1] = 0; ack_on_way[n * 3 + 2] = 0
#if RESOLVES
  ; poisoned = poisoned & ~BIT(n)
#endif
}

#if READS
inline forget_read() {
  read_at = NOBODY; read_state = asked_for; read_lsn = 0; read_floor = 0; read_confirms = 0
}
#endif

inline ended_read(n) {
#if READS
  if
  :: read_at == n -> forget_read()
  :: else
  fi
#else
  skip
#endif
}

inline step_down(n) {
  role[n] = follower;
  forget_leading(n);
  ended_read(n)
}

inline cut(n, lsn) {
  assert(lsn >= applied[n]);          /* pages in the database file cannot be taken back */
  k = lsn + 1;
  do
  :: k <= end[n] -> E(n, k) = 0; k++
  :: else -> break
  od;
  end[n] = lsn;
  synced[n] = lsn
}

/* n's record now is (leaseholder n, t_epoch, insync): A4.3 iii. */
inline lead(n, in_epoch, insync) {
  forget_leading(n);
  role[n] = activating;
  epoch[n] = in_epoch;
  synced[n] = end[n];
  v_insync[n] = insync
}

inline pass_activate(n) {
  assert(passed[epoch[n]] == 0 || passed[epoch[n]] == 1 + n + 3 * incarnation[n]);   /* I3 */
  passed[epoch[n]] = 1 + n + 3 * incarnation[n];
  role[n] = serving
}

inline commit(n, lsn) {
  k = 1;
  do
  :: k <= lsn ->
     assert(committed[k - 1] == 0 || committed[k - 1] == E(n, k));  /* what was acknowledged stays */
     committed[k - 1] = E(n, k);
     k++
  :: else -> break
  od;
  applied[n] = (lsn > applied[n] -> lsn : applied[n]);
  if
  :: lsn > commit_end -> commit_end = lsn; check()
  :: else
  fi
}

/* What acknowledgements, the own disk and the set of members make possible (A4.1, A4.3 v). */
inline advance(n) {
  c = (synced[n] < end[n] -> synced[n] : end[n]);
  j = 0; k = 1;                        /* k: all needed members were activated */
  do
  :: j < 3 ->
     if
     :: j != n && IN(j, NEEDED(n)) ->
        if
        :: ACKED(n, j) == 0 -> k = 0
        :: else -> c = (ACKED(n, j) - 1 < c -> ACKED(n, j) - 1 : c)
        fi
     :: else
     fi;
     j++
  :: else -> break
  od;
  if
#ifdef BUG_SERVE_BEFORE_ALL
  :: role[n] == activating && (k == 0 || c < end[n]) -> pass_activate(n); commit(n, end[n])
#endif
  :: role[n] == activating && k == 1 && c >= end[n] -> pass_activate(n); commit(n, c)
  :: k == 1 && role[n] != activating && role[n] != follower && role[n] != taking -> commit(n, c)
  :: else
  fi
}

/* ---- the life of a process ---- */
inline cut_unsynced(n) {
  k = synced[n] + 1;
  do
  :: k <= end[n] -> E(n, k) = 0; k++
  :: else -> break
  od;
  end[n] = synced[n]
}

inline forget_transaction(n) {
  t_kind[n] = none; t_state[n] = sent; t_arg[n] = 0; t_epoch[n] = 0; t_inc[n] = 0
}

inline dies(n) {
  cut_unsynced(n);
  up = up & ~BIT(n);
  step_down(n);
  /* A transaction that is under way may still be applied; its answer reaches nobody. */
  if
  :: t_kind[n] != none && (t_state[n] == done || t_state[n] == refused) -> forget_transaction(n)
  :: else
  fi
}

inline restart(n) {
  incarnation[n]++;
  up = up | BIT(n);
  fast = fast | BIT(n);
#ifdef BUG_LEASE_BY_NODE
  if
  :: r_leader == n && epoch[n] == r_epoch -> role[n] = serving; v_insync[n] = r_insync
  :: else
  fi
#endif
}

inline wipe(n) {
  k = 1;
  do
  :: k <= end[n] -> E(n, k) = 0; k++
  :: else -> break
  od;
  end[n] = 0; synced[n] = 0; epoch[n] = 0; applied[n] = 0;
#ifndef BUG_WIPED_KEEPS_ID
  own_store = own_store & ~BIT(n)  /* not the store that the record names */
#endif
}

/* Placement gives the node a replica of another id in place of the lost one; a leaseholder knows nothing of it yet. */
inline new_learner(n) {
  own_store = own_store | BIT(n);
#ifndef BUG_ACKNOWLEDGED_BY_NODE
  ACKED(0, n) = 0; ACKED(1, n) = 0; ACKED(2, n) = 0;
  ON_WAY(0, n) = 0; ON_WAY(1, n) = 0; ON_WAY(2, n) = 0
#endif
}

/* ---- the metadata store ---- */
inline send(n, kind, arg, in_epoch, inc) {
  t_kind[n] = kind;
  t_state[n] = (r_epoch == epoch[n] && r_leader == n && r_incarnation == incarnation[n] || kind == take -> sent : stale);
  t_arg[n] = arg; t_epoch[n] = in_epoch; t_inc[n] = inc
}

inline make_stale(n, m) {
  if
  :: m != n && t_kind[m] != none && t_state[m] == sent -> t_state[m] = stale
  :: else
  fi
}

inline store_applies(n) {
  if
  :: t_state[n] == stale || FENCED(n) || (t_kind[n] == transfer && IN(t_inc[n], fences[t_arg[n]])) ->
     t_state[n] = refused
  :: else ->
     if
     :: t_kind[n] == remove -> r_insync = r_insync & ~BIT(t_arg[n])
     :: t_kind[n] == promote -> r_insync = r_insync | BIT(t_arg[n])
     :: t_kind[n] == take -> r_insync = t_arg[n]; r_leader = n; r_incarnation = incarnation[n]; r_epoch = t_epoch[n]
     :: t_kind[n] == fall -> r_epoch = t_epoch[n]
     :: t_kind[n] == transfer -> r_leader = t_arg[n]; r_incarnation = t_inc[n]; r_epoch = t_epoch[n]
     :: t_kind[n] == release -> r_leader = NOBODY; r_incarnation = 0
     fi;
     make_stale(n, 0); make_stale(n, 1); make_stale(n, 2);
     t_state[n] = done
  fi;
  if
  :: !UP(n) -> forget_transaction(n)
  :: else
  fi
}

/* The answer reaches n; answers that were lost are asked for again, so it is one and the same however late. */
inline hear(n) {
  if
  :: t_state[n] == done && t_kind[n] == take && role[n] == taking ->
#ifdef BUG_SUCCESSOR_CUTS_ITS_TAIL
     cut(n, applied[n]);
#endif
     j = t_epoch[n]; c = t_arg[n]; lead(n, j, c)
  :: t_state[n] == refused && t_kind[n] == take && role[n] == taking -> role[n] = follower
  :: t_state[n] == done && t_kind[n] == remove && LEADS(n) ->
     v_insync[n] = v_insync[n] & ~BIT(t_arg[n])
  :: t_state[n] == done && t_kind[n] == promote && LEADS(n) ->
     v_insync[n] = v_insync[n] | BIT(t_arg[n])
  :: t_state[n] == done && t_kind[n] == transfer && role[n] == moving -> step_down(n)
  :: t_state[n] == done && t_kind[n] == release && role[n] == releasing -> step_down(n)
  :: t_state[n] == refused && t_kind[n] != take && LEADS(n) -> step_down(n)  /* somebody else changed the record */
  :: else
  fi;
  forget_transaction(n);
  advance(n)
}

/* ---- the leaseholder and its followers ---- */
inline common_prefix(n, m) {             /* into c */
  c = 0;
  do
  :: c < end[n] && c < end[m] && E(n, c + 1) == E(m, c + 1) -> c++
  :: else -> break
  od
}

inline activate(n, m) {                  /* A4.3 iv; at a member or learner m */
  common_prefix(n, m);
#ifdef BUG_FOLLOWER_CUTS_TO_DURABLE
  c = (applied[m] < c -> applied[m] : c);
#endif
  if
  :: c < end[m] || end[m] > synced[m] -> cut(m, c)
  :: else
  fi;
  step_down(m);
  epoch[m] = epoch[n];
  ON_WAY(n, m) = c + 1
}

inline append(n, m) {
  assert(m != n && (end[m] == 0 || E(m, end[m]) == E(n, end[m])));
  end[m]++;
  E(m, end[m]) = E(n, end[m]);
  synced[m] = end[m];
  ON_WAY(n, m) = end[m] + 1
}

inline apply(n, m) {                     /* m learns n's durable LSN and writes its pages */
#ifdef BUG_APPLY_WHOLE_LOG
  applied[m] = end[m]
#else
  applied[m] = (applied[n] < end[m] -> applied[n] : end[m])
#endif
}

inline write(n) {
  writes++;
  end[n]++;
  w_epoch[writes] = epoch[n]; w_lsn[writes] = end[n];
  j = 1;
  do
  :: j < writes -> assert(w_epoch[j] != epoch[n] || w_lsn[j] != end[n]); j++   /* I1 */
  :: else -> break
  od;
  E(n, end[n]) = writes
}

#define CAN_APPEND(n, m) (UP(n) && UP(m) && LEADS(n) && role[m] == follower && epoch[m] == epoch[n] && \
                          IN(m, own_store) && end[m] < end[n])
#define CAN_ACTIVATE(n, m) (UP(n) && UP(m) && LEADS(n) && epoch[m] < epoch[n] && IN(m, own_store))
#define HOLDS(n, m) (ACKED(n, m) > (role[n] == activating -> end[n] : applied[n]))
#define IDLE(n) (t_kind[n] == none)

#ifdef BUG_SHRINK_TO_ONE
#define SHRINKS(set) (COUNT(set) > 1)
#else
#define SHRINKS(set) (COUNT(set) > MIN_INSYNC)
#endif

/* S without the old leaseholder, where min_insync allows and it is not the successor itself. */
#define S_AFTER(n) (r_leader != NOBODY && r_leader != n && IN(r_leader, r_insync) && SHRINKS(r_insync) -> \
                    (r_insync & ~BIT(r_leader)) : r_insync)

/* Any member may be thought silent, any learner be promoted; or, for PROGRESS, only as it has to be. */
#ifdef PROGRESS
#define MAY_REMOVE(m) (!UP(m) || !IN(m, own_store))
#ifdef BUG_NO_PROMOTION_WHILE_ACTIVATING
#define MAY_PROMOTE(n, m) (UP(m) && role[n] == serving)
#else
#define MAY_PROMOTE(n, m) UP(m)
#endif
inline spend_change() { skip }
#else
#define MAY_REMOVE(m) (changes > 0)
#define MAY_PROMOTE(n, m) (changes > 0)
inline spend_change() { changes-- }
#endif

#define NODE(n) \
  :: d_step { UP(n) && role[n] == serving && writes < WRITES -> write(n) } \
  :: d_step { UP(n) && synced[n] < end[n] -> synced[n] = end[n]; advance(n) } \
  :: d_step { UP(n) && FENCED(n) -> dies(n); check() } \
  :: d_step { UP(n) && crashes > 0 -> crashes--; dies(n); check() } \
  :: d_step { UP(n) && crashes > 0 && deaths > 0 -> \
              crashes--; deaths--; gone = gone | BIT(n); dies(n); check() } \
  :: d_step { !UP(n) && IDLE(n) && !IN(n, gone) -> restart(n) } \
  :: d_step { !IN(n, own_store) && !IN(n, r_insync) && IDLE(0) && IDLE(1) && IDLE(2) -> \
              new_learner(n) } \
  :: d_step { !UP(n) && wipes > 0 -> wipes--; wipe(n); check() } \
  :: d_step { UP(n) && role[n] == follower && IDLE(n) && LEADERLESS && IN(n, r_insync) && IN(n, own_store) && \
              epoch[n] <= r_epoch && !FENCED(n) -> \
              role[n] = taking; c = S_AFTER(n); j = r_epoch + 1; send(n, take, c, j, 0) } \
  :: d_step { UP(n) && role[n] == follower && r_leader == n && r_incarnation == incarnation[n] && \
              epoch[n] < r_epoch && IN(n, own_store) -> lead(n, r_epoch, r_insync); advance(n) } \
  :: d_step { UP(n) && LEADS(n) && r_epoch > epoch[n] && IDLE(n) -> step_down(n) } \
  :: d_step { UP(n) && role[n] == serving && falls > 0 && IDLE(n) -> falls--; fall_back(n) } \
  :: d_step { UP(n) && role[n] == falling && t_kind[n] == fall && t_state[n] == done -> \
              j = t_epoch[n]; c = v_insync[n]; lead(n, j, c); forget_transaction(n); advance(n) } \
  :: d_step { UP(n) && role[n] == falling && t_kind[n] == fall && t_state[n] == done && end[n] > applied[n] -> \
              cut(n, applied[n]); j = t_epoch[n]; c = v_insync[n]; lead(n, j, c); forget_transaction(n); advance(n) } \
  :: d_step { UP(n) && (role[n] == serving || role[n] == activating) && releases > 0 && IDLE(n) -> \
              releases--; role[n] = releasing; send(n, release, 0, 0, 0) } \
  :: d_step { t_kind[n] != none && (t_state[n] == sent || t_state[n] == stale) -> store_applies(n); check() } \
  :: d_step { UP(n) && t_kind[n] != none && (t_state[n] == done || t_state[n] == refused) && \
              !(t_state[n] == done && t_kind[n] == fall && role[n] == falling) -> hear(n) }

#ifdef BUG_FALL_BACK_KEEPS_EPOCH
inline fall_back(n) { cut(n, applied[n]) }
#else
inline fall_back(n) { role[n] = falling; j = epoch[n] + 1; send(n, fall, 0, j, 0) }
#endif

#define PAIR(n, m) \
  :: d_step { CAN_ACTIVATE(n, m) -> activate(n, m); check() } \
  :: d_step { CAN_APPEND(n, m) -> append(n, m) } \
  :: d_step { ON_WAY(n, m) > 0 && UP(n) -> \
              ACKED(n, m) = (ON_WAY(n, m) > ACKED(n, m) -> ON_WAY(n, m) : ACKED(n, m)); ON_WAY(n, m) = 0; \
              advance(n) } \
  :: d_step { UP(n) && UP(m) && LEADS(n) && role[m] == follower && epoch[m] == epoch[n] && IN(m, own_store) && \
              CAN_APPLY(n, m) -> apply(n, m); check() } \
  :: d_step { UP(n) && (role[n] == serving || role[n] == activating) && IDLE(n) && MAY_REMOVE(m) && \
              IN(m, v_insync[n]) && SHRINKS(v_insync[n]) -> \
              spend_change(); send(n, remove, m, 0, 0); removal_sent(n, m) } \
  :: d_step { UP(n) && (role[n] == serving || role[n] == activating) && IDLE(n) && MAY_PROMOTE(n, m) && \
              !IN(m, v_insync[n]) && HOLDS(n, m) && IN(m, own_store) -> \
              spend_change(); send(n, promote, m, 0, 0) } \
  :: d_step { UP(n) && UP(m) && role[n] == serving && IDLE(n) && transfers > 0 && IN(m, v_insync[n]) && \
              applied[n] == end[n] && ACKED(n, m) == end[n] + 1 -> \
              transfers--; role[n] = moving; j = epoch[n] + 1; k = incarnation[m]; send(n, transfer, m, j, k) } \
  DOUBT(n, m)

#ifdef BUG_APPLY_WHOLE_LOG
#define CAN_APPLY(n, m) (applied[m] < end[m])
#else
#define CAN_APPLY(n, m) (applied[m] < applied[n] && applied[m] < end[m])
#endif

#ifdef BUG_REMOVAL_BEFORE_CONFIRMED
inline removal_sent(n, m) { v_insync[n] = v_insync[n] & ~BIT(m); advance(n) }
#else
inline removal_sent(n, m) { skip }
#endif

#ifdef BUG_DOUBT_IS_FAILURE
/* No answer in time: "it failed". The transaction is still under way; whatever it does, nobody hears of it. */
#define DOUBT(n, m) \
  :: d_step { UP(n) && t_kind[n] == promote && t_arg[n] == m && t_state[n] != refused && !IN(m, r_insync) -> \
              r_insync = r_insync | BIT(m); make_stale(n, 0); make_stale(n, 1); make_stale(n, 2); \
              forget_transaction(n); advance(n) }
#else
#define DOUBT(n, m)
#endif

#define FENCE \
  :: d_step { r_leader != NOBODY && !IN(r_incarnation, fences[r_leader]) && \
              (!UP(r_leader) || incarnation[r_leader] != r_incarnation) -> \
              fences[r_leader] = fences[r_leader] | BIT(r_incarnation) } \
  :: d_step { r_leader != NOBODY && !IN(r_incarnation, fences[r_leader]) && false_fences > 0 && UP(r_leader) && \
              incarnation[r_leader] == r_incarnation && DEADLINE_PASSED(r_leader) -> \
              false_fences--; fences[r_leader] = fences[r_leader] | BIT(r_incarnation) }

#if READS
/* A statement that reads: admitted while the gate is open, then its snapshot is taken, then it is found valid. */
#define DEADLINE_PASSED(n) (!IN(n, fast))
#ifdef BUG_READ_BEHIND_CLOSED_GATE  /* a transaction that began before reads first when the lease is moving */
#define MAY_ASK(n) (LEADS(n) && role[n] != activating)
#elif defined(BUG_DEADLINE_AT_BEGIN)  /* looked at when the transaction began, before the client asked to read */
#define MAY_ASK(n) (role[n] == serving && IN(n, fast))
#else
#define MAY_ASK(n) (role[n] == serving)
#endif
#ifdef BUG_DEADLINE_AT_BEGIN
#define ASKED_AT_SNAPSHOT read_floor = commit_end;
#define FAST(n) true
#else
#define ASKED_AT_SNAPSHOT
#define FAST(n) IN(n, fast)
#endif
#define ALL_CONFIRMED(n) ((NEEDED(n) & ~(read_confirms | BIT(n))) == 0 && COUNT(NEEDED(n)) > 1)
#ifdef BUG_ANSWER_NOT_GATED
#define DURABLE(n, lsn) true
#else
#define DURABLE(n, lsn) (applied[n] >= lsn)
#endif
#define READ(n) \
  :: d_step { reads > 0 && read_at == NOBODY && UP(n) && MAY_ASK(n) -> \
              reads--; read_at = n; read_floor = commit_end } \
  :: d_step { read_at == n && read_state == asked_for && LEADS(n) -> \
              read_state = taken; read_lsn = end[n]; ASKED_AT_SNAPSHOT } \
  :: d_step { read_at == n && read_state == taken && LEADS(n) && (FAST(n) || ALL_CONFIRMED(n)) -> \
              read_state = valid; read_confirms = 0 } \
  :: d_step { read_at == n && read_state == valid && DURABLE(n, read_lsn) -> \
              assert(read_lsn >= read_floor && read_lsn <= commit_end);  /* I4 */ \
              forget_read() } \
  :: d_step { UP(n) && IN(n, fast) && false_fences > 0 -> fast = fast & ~BIT(n) }
#define CONFIRM(n, m) \
  :: d_step { read_at == n && read_state == taken && UP(m) && role[m] == follower && epoch[m] == epoch[n] && \
              !IN(m, read_confirms) -> read_confirms = read_confirms | BIT(m) }
#else
#define DEADLINE_PASSED(n) true
#define READ(n)
#define CONFIRM(n, m)
#endif

#if RESOLVES
/* A5.6. The gateway asks whoever it believes to lead; the request itself may arrive at any time. */
inline resolve(n) {
  k = 1; c = 0;
  do
  :: k <= end[n] -> c = (w_request > 0 && E(n, k) == w_request -> 1 : c); k++
  :: else -> break
  od;
  if
  :: c == 0 -> not_applied = true
#ifndef BUG_NOT_POISONED
     ; poisoned = (epoch[n] == 1 -> (poisoned | BIT(n)) : poisoned)
#endif
  :: else  /* found: its outcome is told once it is durable */
  fi
}
#ifdef BUG_RESOLVE_WHILE_ACTIVATING
#define RESOLVER(n) (role[n] == serving || role[n] == activating)
#else
#define RESOLVER(n) (role[n] == serving)
#endif
#ifdef BUG_EPOCH_NOT_ADDRESSED
#define ADDRESSED(n) true
#else
#define ADDRESSED(n) (n == 0 && epoch[n] == 1)
#endif
#define RESOLVE(n) \
  :: d_step { on_its_way && UP(n) && role[n] == serving && ADDRESSED(n) && !IN(n, poisoned) && writes < WRITES -> \
              on_its_way = false; write(n); w_request = writes } \
  :: d_step { UP(n) && RESOLVER(n) && !not_applied -> resolve(n) }
#else
#define RESOLVE(n)
#endif

proctype node(byte n; byte a; byte b) {
end_node:
  do
  NODE(n)
  PAIR(n, a)
  PAIR(n, b)
  READ(n)
  CONFIRM(n, a)
  CONFIRM(n, b)
  RESOLVE(n)
  od
}

/* I9: whatever happened before, once nothing is left to happen somebody serves, and everything written is durable. */
#define IS_SERVED(n) (UP(n) && r_leader == n && r_incarnation == incarnation[n] && role[n] == serving && \
                      applied[n] == end[n] && writes == WRITES)

proctype world() {
end_world:
  do
  FENCE
#ifdef PROGRESS
  :: timeout -> assert(IS_SERVED(0) || IS_SERVED(1) || IS_SERVED(2)); break
#endif
  od
}

init {
  d_step {
    role[0] = serving; v_insync[0] = ALL;
    ACKED(0, 1) = 1; ACKED(0, 2) = 1;
    passed[1] = 1
  }
  atomic { run node(0, 1, 2); run node(1, 2, 0); run node(2, 0, 1); run world() }
}
