// Directories for tests. In: a name. Out: an empty directory of mode 0700 that no other process
// uses. Any thread. Always under /tmp: a unix socket's path has room for 107 bytes, and the user
// that runs PostgreSQL must be able to enter.

import Foundation

package enum TemporaryDirectory {
    package static func make(_ name: String) throws -> String {
        var template = Array("/tmp/\(name)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    package static func remove(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)
    }
}
