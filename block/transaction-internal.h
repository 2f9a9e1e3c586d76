/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of a transaction: its steps, what is made before, what is done meanwhile. */
#ifndef BLOCK_TRANSACTION_INTERNAL_H
#define BLOCK_TRANSACTION_INTERNAL_H

#include "block/transaction.h"

typedef struct TransactionPin {
    BdrvAction *action;
    BdrvLink *link;                 /* keeps the node */
    bool flush, flush_running;
} TransactionPin;

struct Transaction {
    TransactionState state;
    GPtrArray *actions;             /* of BdrvAction */
    GArray *pins;                   /* of TransactionPin */
    bool found_pinned;              /* an action needs a node that another transaction changes */
    int64_t timeout_ns;
    int64_t make_timeout_ns;
    int64_t deadline_ns;            /* from the flush on, clock_ns() */
    BdrvHold hold;
    BdrvWork *work;                 /* of the step under way */
    GPtrArray *work_actions;        /* whose action the i-th work is */
    TransactionTimes times;
    int makers;                     /* coroutines inside of co_take or co_make functions */
    bool making;                    /* co_make, else co_take */
    guint next_to_make;
    bool give_up_making;            /* no further action is to be made */
    Coroutine *make_waiter;
    bool orphan;                    /* its command has ended; freed when the last maker returns */
};

TransactionPin *main_fn transaction_pin_at(const Transaction *t, guint i);
/* Others may change the nodes from now on; they live on. */
void main_fn transaction_let_others_change(Transaction *t);
void co_main_fn transaction_unpin_all(Transaction *t);
/* Undo what all actions took, made and prepared. */
void co_main_fn transaction_abort_actions(Transaction *t);
/* Also of one whose command has ended. */
void main_fn transaction_really_free(Transaction *t);

/* Names the member in @err. */
void any_fn transaction_blame(const BdrvAction *a, Error *err);
/* Hands the error of the first action that has one to @errp; false: none has. */
bool main_fn transaction_fail_first(Transaction *t, Error **errp);

#endif
