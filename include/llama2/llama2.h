/* libllama2: everything. */
#ifndef LLAMA2_LLAMA2_H
#define LLAMA2_LLAMA2_H

#include "types.h"
#include "context.h"
#include "tokenizer.h"
#include "chat.h"
#include "batch.h"
#include "model.h"
#include "convert.h"
#include "inspect.h"
#include "session.h"
#include "stops.h"
#include "shards.h"
#include "mixture.h"
#include "optimizer.h"
#include "trainer.h"
#include "reward.h"
#include "reward_card.h"
#include "rollouts.h"
#include "preference.h"
#include "rejection.h"
#include "distill.h"
#include "gatt.h"
#include "ppo.h"
#include "checkpoint.h"

#endif
