//! JSON as Apache's mqadmin prints it: indented by tabs, no blank behind a colon, and the broker ids in `brokerAddrs` without
//! quotes, as they are numbers in Java.

use serde_json::Value;

/// The text, without an end of line.
pub(super) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value, 0, false);
    out
}

fn put(out: &mut String, value: &Value, depth: usize, bare_keys: bool) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let put_field = |out: &mut String, (name, value): (&String, &Value)| {
                let is_number = bare_keys && name.parse::<i64>().is_ok();
                out.push_str(&if is_number {
                    name.clone()
                } else {
                    Value::from(name.as_str()).to_string()
                });
                out.push(':');
                put(out, value, depth + 1, name == "brokerAddrs");
            };
            put_parts(out, ('{', '}'), depth, fields.iter(), put_field);
        }
        Value::Array(items) if !items.is_empty() => {
            put_parts(out, ('[', ']'), depth, items.iter(), |out, item| {
                put(out, item, depth + 1, false)
            });
        }
        value => out.push_str(&value.to_string()),
    }
}

fn put_parts<T>(
    out: &mut String,
    (open, close): (char, char),
    depth: usize,
    parts: impl Iterator<Item = T>,
    mut put_part: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (number, part) in parts.enumerate() {
        out.push_str(if number == 0 { "\n" } else { ",\n" });
        out.push_str(&"\t".repeat(depth + 1));
        put_part(out, part);
    }
    out.push('\n');
    out.push_str(&"\t".repeat(depth));
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_looks_as_apaches_mqadmin_prints_it() {
        let route = json!({"brokerDatas": [{"brokerAddrs": {"0": "a:1"}, "x\"": {}}], "n": []});
        let expected = "{\n\t\"brokerDatas\":[\n\t\t{\n\t\t\t\"brokerAddrs\":{\n\t\t\t\t0:\"a:1\"\n\t\t\t},\n\t\t\t\"x\\\"\":{}\n\t\t}\n\t],\n\t\"n\":[]\n}";
        assert_eq!(pretty(&route), expected);
    }
}
