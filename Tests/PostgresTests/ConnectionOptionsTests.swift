// Which hosts a connection string means.

import Testing

@testable import Postgres

@Suite struct ConnectionOptionsTests {
    private func hosts(_ conninfo: String) throws -> [[String?]] {
        try ConnectionOptions(conninfo: conninfo, applicationName: "test").alternatives.map {
            [$0["host"], $0["hostaddr"], $0["port"], $0["target_session_attrs"]]
        }
    }

    @Test func `one host is left as it is`() throws {
        #expect(try hosts("host=a port=1") == [["a", nil, "1", nil]])
        #expect(try hosts("postgresql://a/x") == [["a", nil, nil, nil]])
        #expect(try hosts("dbname=x") == [[nil, nil, nil, nil]])
    }

    @Test func `of several each is tried by itself, and has to take writes`() throws {
        #expect(
            try hosts("postgresql://a:1,b:2/x") == [
                ["a", nil, "1", "read-write"], ["b", nil, "2", "read-write"],
            ])
        #expect(
            try hosts("host=a,b port=5") == [
                ["a", nil, "5", "read-write"], ["b", nil, "5", "read-write"],
            ])
        #expect(
            try hosts("host=a,b hostaddr=127.0.0.1,127.0.0.2 port=,7") == [
                ["a", "127.0.0.1", "", "read-write"], ["b", "127.0.0.2", "7", "read-write"],
            ])
        #expect(
            try hosts("hostaddr=127.0.0.1,127.0.0.2") == [
                [nil, "127.0.0.1", nil, "read-write"], [nil, "127.0.0.2", nil, "read-write"],
            ])
    }

    @Test func `what the string says of the session stands`() throws {
        #expect(
            try hosts("host=a,b target_session_attrs=primary").map { $0[3] }
                == ["primary", "primary"])
        #expect(
            try hosts("host=a,b target_session_attrs=prefer-standby") == [
                ["a,b", nil, nil, "prefer-standby"]
            ])
    }
}
