//! Running a broker: codes 26, 315, 317, 906, 908.

use crate::header::headers;

headers! {
    /// Answer to 26; the body holds the properties.
    GetBrokerConfigResponse {
        /// JSON of the config's data version.
        version "version": String,
    }

    /// 315: one statistic.
    ViewBrokerStatsDataRequest {
        stats_name "statsName": String,
        stats_key "statsKey": String,
    }

    /// 317: lag of every consumer group.
    GetConsumeStatsInBrokerRequest {
        is_order "isOrder": bool,
    }

    /// 906: masters and slaves tell each other their addresses; both ways.
    ExchangeHaInfo {
        master_ha_address "masterHaAddress": Option<String>,
        master_flush_offset "masterFlushOffset": Option<i64>,
        master_address "masterAddress": Option<String>,
    }

    /// 908: tell a slave how far its master has flushed.
    ResetMasterFlushOffsetRequest {
        master_flush_offset "masterFlushOffset": i64,
    }
}
