#!/bin/sh
# StarRocks' stop_fe.sh [-g] [--timeout SECONDS] --store DIR: with -g the frontend's graceful exit, without it SIGTERM.
case " $* " in *" -g "*) role=--roles=frontend ;; *) role= ;; esac
exec "${OUTLAST:-outlast}" stop $role "$@"
