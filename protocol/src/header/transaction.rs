//! Transactions: codes 37 and 39.

use crate::header::headers;

headers! {
    /// 37: a producer decides a transaction.
    EndTransactionRequest {
        topic "topic": Option<String>,
        producer_group "producerGroup": String,
        /// Queue offset of the half message.
        tran_state_table_offset "tranStateTableOffset": i64,
        /// Physical offset of the half message.
        commit_log_offset "commitLogOffset": i64,
        /// Bits of the message's sysFlag: 0 undecided, 8 commit, 12 rollback.
        commit_or_rollback "commitOrRollback": i32,
        from_transaction_check "fromTransactionCheck": bool = false,
        msg_id "msgId": String,
        transaction_id "transactionId": Option<String>,
    }

    /// 39: the broker asks a producer how a transaction ended.
    CheckTransactionStateRequest {
        topic "topic": Option<String>,
        tran_state_table_offset "tranStateTableOffset": i64,
        commit_log_offset "commitLogOffset": i64,
        msg_id "msgId": Option<String>,
        transaction_id "transactionId": Option<String>,
        offset_msg_id "offsetMsgId": Option<String>,
    }
}
