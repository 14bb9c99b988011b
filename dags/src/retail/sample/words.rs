//! The words that the sample shop is made of. None of them belongs to anybody.

/// Ids as in the real one: the first is 2.
pub(super) static DEPARTMENTS: [(i32, &str); 6] = [
    (2, "Fitness"), (3, "Footwear"), (4, "Apparel"), (5, "Golf"), (6, "Outdoors"), (7, "Fan Shop"),
];

/// Each with its department, of which 8 is not there. Their ids count from 1.
pub(super) static CATEGORIES: [(i32, &str); 58] = [
    (2, "Football"),
    (2, "Soccer"),
    (2, "Baseball"),
    (2, "Basketball"),
    (2, "Lacrosse"),
    (2, "Tennis"),
    (2, "Hockey"),
    (2, "More Sports"),
    (3, "Cardio"),
    (3, "Strength"),
    (3, "Fitness Gear"),
    (3, "Boxing"),
    (3, "Electronics"),
    (3, "Yoga & Pilates"),
    (3, "Training"),
    (3, "As Seen on TV"),
    (4, "Cleats"),
    (4, "Men's Shoes"),
    (4, "Women's Shoes"),
    (4, "Kids' Shoes"),
    (4, "Featured"),
    (4, "Accessories"),
    (5, "Men's Apparel"),
    (5, "Women's Apparel"),
    (5, "Boys' Apparel"),
    (5, "Girls' Apparel"),
    (5, "Hats & Gloves"),
    (5, "Top Brands"),
    (5, "By Sport"),
    (6, "Men's Clubs"),
    (6, "Women's Clubs"),
    (6, "Golf Apparel"),
    (6, "Golf Shoes"),
    (6, "Bags & Carts"),
    (6, "Gloves"),
    (6, "Balls"),
    (6, "Range Finders"),
    (6, "Kids' Clubs"),
    (6, "Team Shop"),
    (6, "Tees & More"),
    (6, "Trade-In"),
    (7, "Bike & Skate"),
    (7, "Camping & Hiking"),
    (7, "Archery"),
    (7, "Fishing"),
    (7, "Lawn Games"),
    (7, "Boating"),
    (7, "Water Sports"),
    (8, "Diamond League"),
    (8, "Gridiron League"),
    (8, "Ice League"),
    (8, "Court League"),
    (8, "College"),
    (8, "Pitch League"),
    (8, "International"),
    (8, "Cup Shop"),
    (8, "Diamond Players"),
    (8, "Gridiron Players"),
];

/// Product, price in cents, and how often it is bought: the few that make most of the revenue.
pub(super) static BEST_SELLERS: [(i32, i64, u32); 9] = [
    (365, 5_999, 24_515),
    (403, 12_999, 22_246),
    (502, 5_000, 21_035),
    (1_014, 4_998, 19_298),
    (1_004, 39_998, 17_325),
    (1_073, 19_999, 15_500),
    (957, 29_998, 13_729),
    (191, 9_999, 12_169),
    (627, 3_999, 10_617),
];

/// Of 68,883 orders.
pub(super) static STATUSES: [(&str, u32); 9] = [
    ("COMPLETE", 22_899),
    ("PENDING_PAYMENT", 15_030),
    ("PROCESSING", 8_275),
    ("PENDING", 7_610),
    ("CLOSED", 7_556),
    ("ON_HOLD", 3_798),
    ("SUSPECTED_FRAUD", 1_558),
    ("CANCELED", 1_428),
    ("PAYMENT_REVIEW", 729),
];

pub(super) static MAKERS: [&str; 20] = [
    "Alder", "Birchwood", "Cascade", "Dunmore", "Eastwind", "Fernhill", "Granite", "Harborline", "Ironleaf",
    "Juniper", "Kestrel", "Lakeside", "Mistral", "Northgate", "Oakridge", "Pinecrest", "Quarry", "Redstone",
    "Summitway", "Tidewater",
];

pub(super) static QUALITIES: [&str; 34] = [
    "Amber", "Bright", "Calm", "Clear", "Cozy", "Dusty", "Easy", "Golden", "Grand", "Green", "Hidden", "High",
    "Honey", "Iron", "Light", "Little", "Misty", "Noble", "Old", "Quiet", "Rocky", "Round", "Silent", "Silver",
    "Sleepy", "Stony", "Sunny", "Swift", "Tall", "Velvet", "Warm", "Wild", "Windy", "Young",
];

pub(super) static THINGS: [&str; 38] = [
    "Ball", "Shin Guard", "Glove", "Hoop", "Stick", "Racket", "Helmet", "Net", "Treadmill", "Barbell", "Mat",
    "Jump Rope", "Heart Monitor", "Roller", "Training Cone", "Cleat", "Running Shoe", "Sandal", "Boot", "Backpack",
    "Jacket", "Shirt", "Shorts", "Socks", "Cap", "Driver", "Putter", "Polo", "Cart", "Ball Pack", "Tent", "Kayak",
    "Rod", "Bow", "Bike", "Jersey", "Scarf", "Pennant",
];

pub(super) static FIRST_NAMES: [&str; 50] = [
    "Mary", "James", "Ann", "John", "Robert", "Linda", "David", "Karen", "Paul", "Susan", "Mark", "Laura", "Peter",
    "Nancy", "Brian", "Emma", "Kevin", "Sarah", "Jason", "Amy", "Daniel", "Alice", "Thomas", "Ruth", "Henry", "Grace",
    "Albert", "Judy", "Carl", "Diana", "Roy", "Helen", "Louis", "Irene", "Walter", "Joan", "Arthur", "Rose", "Harold",
    "Julia", "Victor", "Megan", "Philip", "Tina", "Ralph", "Wendy", "Samuel", "Carmen", "Oscar", "Nora",
];

pub(super) static LAST_NAMES: [&str; 80] = [
    "Smith", "Johnson", "Jones", "Brown", "Davis", "Miller", "Wilson", "Moore", "Taylor", "Clark", "Lewis", "Walker",
    "Hall", "Young", "King", "Wright", "Hill", "Green", "Adams", "Baker", "Nelson", "Carter", "Mitchell", "Perez",
    "Roberts", "Turner", "Phillips", "Campbell", "Parker", "Evans", "Edwards", "Collins", "Stewart", "Morris",
    "Rogers", "Reed", "Cook", "Morgan", "Bell", "Murphy", "Bailey", "Rivera", "Cooper", "Richardson", "Cox", "Howard",
    "Ward", "Torres", "Peterson", "Gray", "Ramirez", "Watson", "Brooks", "Kelly", "Sanders", "Price", "Bennett",
    "Wood", "Barnes", "Ross", "Henderson", "Coleman", "Jenkins", "Perry", "Powell", "Long", "Patterson", "Hughes",
    "Flores", "Washington", "Butler", "Simmons", "Foster", "Gonzales", "Bryant", "Alexander", "Russell", "Griffin",
    "Diaz", "Hayes",
];

pub(super) static STREET_NAMES: [&str; 45] = [
    "Anchor", "Apple", "Beacon", "Berry", "Blossom", "Brook", "Butterfly", "Cider", "Cloud", "Creek", "Dale", "Deer",
    "Elk", "Ember", "Fawn", "Field", "Forest", "Fox", "Gate", "Grove", "Hickory", "Hill", "Horse", "Island", "Lake",
    "Leaf", "Log", "Maple", "Mountain", "Nectar", "Oak", "Panda", "Pine", "Pond", "Prairie", "Rabbit", "River",
    "Rise", "Sky", "Spring", "Stream", "Timber", "View", "Willow", "Zephyr",
];

pub(super) static STREET_KINDS: [&str; 42] = [
    "Avenue", "Bank", "Bend", "Chase", "Circle", "Court", "Drive", "Edge", "End", "Front", "Gardens", "Glade",
    "Green", "Heath", "Highlands", "Hollow", "Impasse", "Island", "Jetty", "Ledge", "Line", "Mall", "Park", "Parkway",
    "Pathway", "Place", "Plaza", "Pointe", "Private", "Ramp", "Road", "Row", "Street", "Swale", "Terrace", "Trace",
    "Trail", "Vale", "View", "Village", "Way", "Wynd",
];

/// City, state and zip code, and how many of 12,000 customers live there.
pub(super) static TOWNS: [((&str, &str, &str), u32); 55] = [
    (("Caguas", "PR", "00725"), 4_584),
    (("Bayamon", "PR", "00957"), 100),
    (("Carolina", "PR", "00979"), 87),
    (("Chicago", "IL", "60625"), 400),
    (("Aurora", "IL", "60505"), 123),
    (("Los Angeles", "CA", "90011"), 800),
    (("San Diego", "CA", "92109"), 500),
    (("San Jose", "CA", "95123"), 400),
    (("Fremont", "CA", "94536"), 312),
    (("Brooklyn", "NY", "11226"), 425),
    (("New York", "NY", "10002"), 250),
    (("Rochester", "NY", "14609"), 100),
    (("Houston", "TX", "77083"), 335),
    (("Dallas", "TX", "75217"), 200),
    (("El Paso", "TX", "79936"), 100),
    (("Miami", "FL", "33125"), 274),
    (("Tampa", "FL", "33617"), 100),
    (("Columbus", "OH", "43206"), 276),
    (("Philadelphia", "PA", "19111"), 261),
    (("Detroit", "MI", "48228"), 254),
    (("Newark", "NJ", "07104"), 219),
    (("Phoenix", "AZ", "85033"), 213),
    (("Atlanta", "GA", "30331"), 169),
    (("Baltimore", "MD", "21215"), 164),
    (("Charlotte", "NC", "28205"), 150),
    (("Alexandria", "VA", "22304"), 136),
    (("Denver", "CO", "80219"), 122),
    (("Portland", "OR", "97206"), 119),
    (("Boston", "MA", "02124"), 113),
    (("Memphis", "TN", "38128"), 104),
    (("Las Vegas", "NV", "89110"), 103),
    (("Saint Louis", "MO", "63116"), 92),
    (("Honolulu", "HI", "96817"), 87),
    (("Albuquerque", "NM", "87121"), 73),
    (("Hartford", "CT", "06106"), 73),
    (("Seattle", "WA", "98118"), 72),
    (("Salt Lake City", "UT", "84118"), 69),
    (("Milwaukee", "WI", "53204"), 64),
    (("New Orleans", "LA", "70117"), 63),
    (("Washington", "DC", "20020"), 42),
    (("Columbia", "SC", "29203"), 41),
    (("Indianapolis", "IN", "46227"), 40),
    (("Minneapolis", "MN", "55407"), 39),
    (("Louisville", "KY", "40214"), 35),
    (("Wichita", "KS", "67212"), 29),
    (("Wilmington", "DE", "19805"), 23),
    (("Tulsa", "OK", "74133"), 19),
    (("Huntington", "WV", "25705"), 16),
    (("Providence", "RI", "02908"), 15),
    (("Fargo", "ND", "58103"), 14),
    (("Little Rock", "AR", "72209"), 12),
    (("Boise", "ID", "83709"), 9),
    (("Billings", "MT", "59102"), 7),
    (("Des Moines", "IA", "50315"), 5),
    (("Mobile", "AL", "36605"), 3),
];
