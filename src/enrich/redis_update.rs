//! Updates of profiles in Redis: one script per profile, which the server runs as a whole or not at all.
//!
//! The text of the script goes with every call: a server that has just taken over, or a node of a cluster that never saw it, needs
//! nothing else.

use redis::{Cmd, Pipeline, Value};

use crate::enrich::redis::key;
use crate::enrich::redis_connection::Reply;
use crate::enrich::update::{Applied, ProfileUpdate};

/// Answers how many steps were new; -1 when the key holds something else than a hash. `pcall`: a count that cannot grow stays.
const SCRIPT: &str = "\
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then return -1 end
local applied = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) or 0
local at, new = 2, 0
while at <= #ARGV do
  local sequence, adds, sets = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  at = at + 3
  local fresh = sequence > applied
  if fresh then
    applied = sequence
    new = new + 1
  end
  for i = 1, adds + sets do
    if fresh then
      local command = i <= adds and 'HINCRBY' or 'HSET'
      redis.pcall(command, KEYS[1], ARGV[at], ARGV[at + 1])
    end
    at = at + 2
  end
end
if new > 0 then redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', applied)) end
return new";

/// One call of the script per profile.
pub(super) fn pipeline(updates: &[ProfileUpdate]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(updates.len());
    for update in updates {
        let mut call = Cmd::new();
        call.arg("EVAL").arg(SCRIPT).arg(1).arg(key(&update.entity, update.id.as_str()));
        call.arg(update.applied_field());
        for step in &update.steps {
            call.arg(step.sequence).arg(step.add.len()).arg(step.set.len());
            for (name, more) in &step.add {
                call.arg(&**name).arg(*more);
            }
            for (name, value) in &step.set {
                call.arg(&**name).arg(&**value);
            }
        }
        pipeline.add_command(call);
    }
    pipeline
}

/// What the calls came to; an error of the server, which may be over later, is the first one's text.
pub(super) fn read(updates: &[ProfileUpdate], replies: &[Reply]) -> Result<Applied, String> {
    let mut applied = Applied::default();
    for (update, reply) in updates.iter().zip(replies) {
        match reply {
            Reply::Value(Value::Int(new)) => match u64::try_from(*new) {
                Ok(new) => {
                    applied.steps += new;
                    applied.repeated += (update.steps.len() as u64).saturating_sub(new);
                }
                Err(_) => applied.refused += 1,
            },
            Reply::Value(_) => return Err("a reply that is none to EVAL".to_owned()),
            Reply::Error { said, .. } => return Err(said.clone()),
            Reply::Lost => return Err("a node of the cluster cannot be reached".to_owned()),
        }
    }
    Ok(applied)
}
