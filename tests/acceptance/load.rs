//! `weir load`: a CSV file becomes a reference table's rows, all of it or nothing.

use crate::harness::Server;
use serde_json::json;

#[test]
fn a_csv_file_fills_a_table_and_one_wrong_row_refuses_the_file() {
    let server = Server::start();
    server.define("CREATE TABLE limits (room TEXT, ppm DOUBLE NOT NULL, PRIMARY KEY (room));");
    let file = server.scratch().join("limits.csv");
    let load = |csv: &str| {
        std::fs::write(&file, csv).expect("the scratch directory is writable");
        server.run(&["load", "limits", &file.to_string_lossy()])
    };
    let loaded = load("ppm,room\n1000,\"4, left\"\n800,5\n");
    let said = String::from_utf8_lossy(&loaded.stdout);
    assert!(loaded.status.success() && said.contains("2 rows into 'limits'"), "{loaded:?}");
    let refused = load("room,ppm\n5,900\n\n6,much\n");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("line 4: 'much' in the column 'ppm' is not a DOUBLE"), "{said}");
    let rows = server.query("SELECT room, ppm FROM limits ORDER BY ppm");
    let expected = [json!({"room": "5", "ppm": 800.0}), json!({"room": "4, left", "ppm": 1000.0})];
    assert_eq!(rows, expected);
}
