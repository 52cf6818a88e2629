//! Code 105: where is a topic?

use crate::dispatch::Answer;
use crate::error::Refusal;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::name_server::NameServer;
use crate::route_table::keep_zone;
use protocol::frame::Frame;
use protocol::header::Header;
use protocol::header::name_server::GetRouteInfoRequest;
use protocol::response_code::ResponseCode;

/// Ext fields of a client that wants to stay in its zone.
const ZONE_NAME: &str = "__ZONE_NAME";
const ZONE_MODE: &str = "__ZONE_MODE";

pub(crate) fn get_route(server: &NameServer, request: &Frame) -> Result<Answer, Refusal> {
    let header = GetRouteInfoRequest::decode(request.ext())?;
    if !server.is_ready() {
        return Err(Refusal::rule(ResponseCode::SYSTEM_ERROR, "name server not ready"));
    }
    let Some(mut route) = server.routes().borrow().route(&header.topic, server.rules()) else {
        let remark = format!("No topic route info in name server for the topic: {}", header.topic);
        return Err(Refusal::rule(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    server.note_route_found();
    if server.settings().bool("orderMessageEnable") {
        route.order_topic_conf = server
            .kv()
            .borrow()
            .get(ORDER_TOPIC_CONFIG, &header.topic)
            .map(str::to_owned);
    }
    if let Some(zone_name) = zone_of(request) {
        keep_zone(&mut route, &zone_name);
    }
    let standard_only = header.accept_standard_json_only.unwrap_or(false);
    Ok(Answer::body(route.encode_for(request.version(), standard_only)))
}

fn zone_of(request: &Frame) -> Option<String> {
    let wanted = request.ext().get(ZONE_MODE)?.into_cow().eq_ignore_ascii_case("true");
    let name = request.ext().get(ZONE_NAME)?.into_cow().into_owned();
    (wanted && !name.is_empty()).then_some(name)
}
