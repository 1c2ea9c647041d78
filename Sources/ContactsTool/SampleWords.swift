// The words of which sample contacts are made: names as people of many scripts write them, with a
// Latin form for the email, and the countries' ways to write phone numbers. Tables only.

struct SampleName: Sendable {
    var first: String
    var last: String
    /// The words of an email's local part.
    var latin: String

    init(_ first: String, _ last: String, _ latin: String) {
        self.first = first
        self.last = last
        self.latin = latin
    }

    /// Family name first, as these scripts' languages have it.
    var isFamilyFirst: Bool {
        guard let scalar = first.unicodeScalars.first?.value else { return false }
        return (0x3040...0x9FFF).contains(scalar) || (0xAC00...0xD7A3).contains(scalar)
    }

    var full: String { isFamilyFirst ? last + first : "\(first) \(last)" }

    static let all: [SampleName] = [
        SampleName("Emma", "Johnson", "emma.johnson"), SampleName("Liam", "O’Brien", "liam.obrien"),
        SampleName("José", "Núñez", "jose.nunez"), SampleName("Zoë", "Müller", "zoe.mueller"),
        SampleName("François", "Lefèvre", "francois.lefevre"),
        SampleName("Søren", "Ångström", "soren.angstrom"),
        SampleName("Łukasz", "Wiśniewski", "lukasz.wisniewski"),
        SampleName("Şebnem", "Yıldız", "sebnem.yildiz"),
        SampleName("Đặng", "Nguyễn", "dang.nguyen"), SampleName("Jiří", "Dvořák", "jiri.dvorak"),
        SampleName("Siobhán", "Ní Bhriain", "siobhan.nibhriain"),
        SampleName("Mary Jane", "van der Berg", "maryjane.vdberg"),
        SampleName("Ольга", "Смирнова", "olga.smirnova"),
        SampleName("Дмитро", "Шевченко", "dmytro.shevchenko"),
        SampleName("Ђорђе", "Петровић", "djordje.petrovic"),
        SampleName("Ελένη", "Παπαδοπούλου", "eleni.papadopoulou"),
        SampleName("Γιώργος", "Νικολάου", "giorgos.nikolaou"),
        SampleName("محمد", "العلي", "mohammad.alali"), SampleName("فاطمة", "حسن", "fatima.hassan"),
        SampleName("زهرا", "کریمی", "zahra.karimi"), SampleName("נועה", "כהן", "noa.cohen"),
        SampleName("דוד", "לוי", "david.levi"), SampleName("प्रिया", "शर्मा", "priya.sharma"),
        SampleName("अर्जुन", "सिंह", "arjun.singh"), SampleName("அனிதா", "குமார்", "anitha.kumar"),
        SampleName("伟", "王", "wei.wang"), SampleName("小明", "李", "xiaoming.li"),
        SampleName("美玲", "陳", "meiling.chen"), SampleName("太郎", "山田", "taro.yamada"),
        SampleName("さくら", "佐藤", "sakura.sato"), SampleName("민준", "김", "minjun.kim"),
        SampleName("서연", "박", "seoyeon.park"), SampleName("สมชาย", "ใจดี", "somchai.jaidee"),
        SampleName("ნინო", "ბერიძე", "nino.beridze"), SampleName("Անի", "Հակոբյան", "ani.hakobyan"),
        SampleName("አበበ", "ተስፋዬ", "abebe.tesfaye"), SampleName("Aoife 🌸", "Kelly", "aoife.kelly"),
    ]
}

struct SampleCountry: Sendable {
    var code: String
    /// Puts eight digits behind it and has a mobile number of the country.
    var prefix: String
    /// Lengths of the groups in which the national number is written.
    var groups: [Int]

    init(_ code: String, _ prefix: String, _ groups: [Int]) {
        self.code = code
        self.prefix = prefix
        self.groups = groups
    }

    static let all: [SampleCountry] = [
        SampleCountry("1", "61", [3, 3, 4]), SampleCountry("44", "77", [4, 6]),
        SampleCountry("49", "151", [3, 8]), SampleCountry("33", "6", [1, 2, 2, 2, 2]),
        SampleCountry("91", "98", [5, 5]), SampleCountry("81", "90", [2, 4, 4]),
        SampleCountry("7", "91", [3, 3, 2, 2]), SampleCountry("86", "138", [3, 4, 4]),
        SampleCountry("972", "5", [2, 3, 4]), SampleCountry("30", "69", [3, 3, 4]),
        SampleCountry("66", "8", [2, 3, 4]), SampleCountry("55", "119", [2, 5, 4]),
        SampleCountry("82", "10", [2, 4, 4]), SampleCountry("90", "53", [3, 3, 2, 2]),
        SampleCountry("20", "10", [3, 3, 4]), SampleCountry("48", "5", [3, 3, 3]),
    ]
}

enum SampleWords {
    static let domains = [
        "example.com", "example.org", "mail.example.net", "post.example.de", "correo.example.es",
        "example.co.uk", "büro.example", "example.com.br",
    ]
    static let tags = ["news", "shop", "crm", "2024", "a-b"]
    static let plans = ["free", "starter", "pro", "enterprise", "größer, besser"]
    static let notes = [
        "prefers email", "met at the fair in Köln", "called \"Bob\" by friends, likes; commas",
        "first line\nsecond line", "line one\r\nline two, with a comma", "обратный звонок",
        "電話は午後に", "👩‍👩‍👧 family account", "tab\there", "=not a formula", "",
    ]
}
