// What analysts ask, and what Neo4j users type from habit: one query a line, over tests/small_world.py.
// Both engines answer each of them, with the same rows.
MATCH (u:User) RETURN count(u) AS users
MATCH (i:Item) RETURN count(i)
MATCH (n:User|Item|Tag) RETURN labels(n) AS labels, count(*) AS n ORDER BY n DESC
MATCH (n) WHERE n.id IS NOT NULL OR n.name IS NOT NULL RETURN DISTINCT labels(n)[0] AS label ORDER BY label
MATCH ()-[r]->() RETURN type(r) AS type, count(*) AS n ORDER BY type
MATCH (a)-[r]->(b) RETURN labels(a)[0] AS source, type(r) AS type, labels(b)[0] AS target, count(*) AS n ORDER BY type, source
MATCH (i:Item)-[:IN]->(d:Domain) RETURN d.name AS domain, count(i) AS items ORDER BY items DESC, domain
MATCH (i:Item)-[:IN]->(d:Domain {name: 'noir'}) RETURN i.id AS id ORDER BY id LIMIT 5
MATCH (i:Item)-[r:IN]->(d:Domain) WHERE r.weight < 1 RETURN i.id, d.name, r.weight
MATCH (i:Item) WHERE i.id =~ 'item-0.*' RETURN count(*) AS n
MATCH (i:Item) WHERE i.title =~ '(?i)title 1.' RETURN i.title AS title ORDER BY title
MATCH (u:User) WHERE NOT u.id =~ 'user.*' RETURN u.id AS id ORDER BY id
MATCH (u:User) WHERE EXISTS { (u)-[:KNOWS]->(:User) } RETURN count(u) AS n
MATCH (u:User) WHERE EXISTS {(u)-->(i)} RETURN count(*) AS n
MATCH (u:User) WHERE exists((u)-[:KNOWS]->()) RETURN count(*) AS n
MATCH (u:User) WHERE (u)-[:KNOWS]->() RETURN count(*) AS n
MATCH (u:User) WHERE NOT (u)-[:KNOWS]->() RETURN u.id AS id ORDER BY id
MATCH (i:Item) WHERE NOT (i)<-[:INTERACTED]-(:User) RETURN i.id AS id ORDER BY id
MATCH (i:Item) WHERE NOT EXISTS { (i)<-[:INTERACTED]-() } RETURN i.id AS id ORDER BY id
MATCH (i:Item) WHERE EXISTS { MATCH (i)-[:HAS_TAG]->(t:Tag) WHERE t.name = 'shared' } RETURN i.id AS id ORDER BY id
MATCH (u:User) RETURN u.id AS id, COUNT { (u)-[:INTERACTED]->() } AS events ORDER BY events DESC, id LIMIT 5
MATCH (u:User) WHERE COUNT { (u)-[:INTERACTED]->(:Item) } > 15 RETURN u.id AS id ORDER BY id
RETURN [x IN [1, 2, 3] | x * 2] AS doubled
RETURN [x IN range(1, 10) WHERE x % 2 = 0] AS even
RETURN [x IN range(1, 10) WHERE x % 2 = 0 | x + 1] AS odd
MATCH (u:User {id: 'user-01'})-[:INTERACTED]->(i:Item) WITH i ORDER BY i.id RETURN [x IN collect(DISTINCT i.id) | toUpper(x)] AS ids
MATCH p = (u:User {id: 'user-01'})-[:KNOWS*1..2]->(v:User) RETURN [n IN nodes(p) | n.id] AS ids ORDER BY ids[1], size(ids)
MATCH p = (u:User {id: 'user-01'})-[:KNOWS*1..2]->(v:User) RETURN length(p) AS steps, count(*) AS n ORDER BY steps
RETURN reduce(total = 0, x IN [1, 2, 3, 4] | total + x) AS total
MATCH (u:User {id: 'user-01'})-[e:INTERACTED]->(i:Item) WHERE e.value IS NOT NULL WITH collect(e.value) AS vals RETURN reduce(s = 0.0, v IN vals | s + v) AS total, size(vals) AS n
MATCH (a:User {id: 'user-01'}), (b:User {id: 'user-30'}), p = shortestPath((a)-[:KNOWS*..6]-(b)) RETURN length(p) AS steps
MATCH (a:User {id: 'user-01'}), (b:User {id: 'user-30'}) MATCH p = shortestPath((a)-[*..6]-(b)) RETURN length(p) AS steps
MATCH p = allShortestPaths((a:User {id: 'user-01'})-[:KNOWS*..6]-(b:User {id: 'user-30'})) RETURN length(p) AS steps, count(*) AS n
CALL db.labels()
CALL db.labels() YIELD label RETURN label ORDER BY label
CALL db.relationshipTypes() YIELD relationshipType AS type RETURN type ORDER BY type
CALL db.propertyKeys()
MATCH (i:Item) RETURN replace(i.title, 'Title', 'No.') AS title ORDER BY title LIMIT 5
MATCH (i:Item) RETURN split(i.id, '-')[1] AS number ORDER BY number LIMIT 3
MATCH (t:Tag) WHERE t.category = 'tag' RETURN split(t.name, ' ')[0] AS first, count(*) AS n ORDER BY first
MATCH (i:Item) RETURN toString(i.hidden) AS hidden, count(*) AS n ORDER BY hidden
MATCH (i:Item) RETURN 'item ' + toString(count(*)) AS text
MATCH (i:Item) RETURN toInteger(split(i.id, '-')[1]) AS number ORDER BY number DESC LIMIT 3
MATCH (u:User)-[e:INTERACTED]->() RETURN toInteger(e.value) AS stars, count(*) AS n ORDER BY stars
MATCH (u:User)-[e:INTERACTED]->() WHERE e.value IS NOT NULL RETURN round(stDev(e.value), 6) AS spread
MATCH (u:User)-[e:INTERACTED]->() WHERE e.value IS NOT NULL RETURN round(stDevP(e.value), 6) AS spread
MATCH (u:User)-[e:INTERACTED]->() RETURN percentileCont(e.value, 0.5) AS median
MATCH (u:User)-[e:INTERACTED]->() RETURN percentileDisc(e.value, 0.9) AS high
MATCH (i:Item) RETURN 'id ' || i.id AS text ORDER BY text LIMIT 2
MATCH (i:Item)<-[:INTERACTED]-(u:User) WITH i.id AS id, count(DISTINCT u.id) AS n RETURN id + ': ' + toString(n) AS text ORDER BY text LIMIT 3
MATCH (i:Item)<-[:INTERACTED]-(u:User) RETURN 'people: ' + count(DISTINCT u.id) AS text
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at >= '2021-12-01' RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at >= $since AND e.kind = 'like' RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at > date('2021-12-01') RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at < datetime('2021-06-01T12:00:00') RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE date(e.at) >= date('2021-12-01') RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE datetime({epochSeconds: e.at}) >= datetime('2021-12-01') RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at IS NOT NULL RETURN datetime({epochSeconds: e.at}).year AS year, count(*) AS n ORDER BY year
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at IS NOT NULL RETURN date(datetime({epochSeconds: e.at})).month AS month, count(*) AS n ORDER BY month
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at IS NOT NULL WITH datetime({epochSeconds: e.at}) AS t RETURN t.year AS year, t.quarter AS quarter, count(*) AS n ORDER BY year, quarter
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at IS NOT NULL WITH date(e.at) AS day RETURN day.dayOfWeek AS weekday, count(*) AS n ORDER BY weekday
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at IS NOT NULL RETURN e.at.year AS year, count(*) AS n ORDER BY year
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at IS NOT NULL RETURN toString(date.truncate('month', e.at)) AS month, count(*) AS n ORDER BY month
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at > datetime() - duration('P7D') RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at > datetime('2021-12-01') - duration({days: 30}) AND e.at < datetime('2021-12-01') RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at > datetime().epochSeconds - 86400 RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->() WHERE e.at * 1000 > timestamp() RETURN count(*) AS n
MATCH (i:Item) WHERE i.created_at < date({year: 2020, month: 9, day: 1}) RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->(i) RETURN min(e.at) AS first, max(e.at) AS last
MATCH (u:User)-[e:INTERACTED]->(i) WITH u, max(e.at) AS last WHERE last < '2021-12-01' RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN min(e.at) AS start, max(e.at) AS end
MATCH (i:Item) RETURN i.id AS load ORDER BY load LIMIT 2
MATCH (i:Item) WITH i.id AS set WHERE set ENDS WITH '7' RETURN set ORDER BY set
MATCH (i:Item) WITH i.id AS order, i.title AS desc RETURN order, desc ORDER BY order LIMIT 3
MATCH (i:Item) RETURN i.id AS `the id`, i.title AS `a title` ORDER BY `the id` LIMIT 3
MATCH (i:Item)-[:HAS_TAG]->(t:Tag) RETURN t.name AS type, count(*) AS count ORDER BY count DESC, type LIMIT 3
MATCH (call:User)-[use:KNOWS]->(show:User) RETURN count(*) AS n
MATCH (u:User) RETURN u.attributes AS attributes, count(*) AS n
MATCH (i:Item) RETURN i.attributes AS attributes, count(*) AS n ORDER BY n
MATCH (u:User) WHERE any(x IN ['user-01', 'user-02'] WHERE x = u.id) RETURN u.id AS id ORDER BY id
MATCH (u:User) WHERE all(x IN ['a', 'b'] WHERE NOT u.id CONTAINS x) RETURN count(*) AS n
MATCH (u:User) WHERE none(x IN ['ana'] WHERE u.id STARTS WITH x) RETURN count(*) AS n
MATCH (u:User) WHERE single(x IN [1, 2, 3] WHERE x > 2) RETURN count(*) AS n
MATCH (u:User)-[:INTERACTED]->(i:Item) WITH u, collect(DISTINCT i.id) AS items WHERE any(x IN items WHERE x = 'item-01') RETURN count(*) AS n
MATCH (u:User)-[:INTERACTED]->(i:Item) WITH u, collect(DISTINCT i.id) AS items WHERE all(x IN items WHERE x STARTS WITH 'item-0' OR x STARTS WITH 'item-1') RETURN u.id AS id ORDER BY id
MATCH p = (u:User {id: 'user-01'})-[:KNOWS*1..3]->(v) WHERE all(n IN nodes(p) WHERE n.id <> 'user-06') RETURN count(p) AS n
MATCH (u:User)-[e:INTERACTED]->(i:Item) WHERE e.kind IN ['like', 'tag'] RETURN e.kind AS kind, count(*) AS n ORDER BY kind
MATCH (u:User)-[e:INTERACTED]->(i:Item) WHERE e.kind <> 'hide' RETURN count(DISTINCT u) AS users
MATCH (u:User)-[e:INTERACTED]->(i:Item) WHERE e.kind != 'hide' RETURN count(DISTINCT u) AS users
MATCH (u:User)-[:INTERACTED]->(i:Item)<-[:INTERACTED]-(o:User) WHERE u.id = 'user-01' RETURN o.id AS id, count(*) AS n ORDER BY n DESC, id LIMIT 5
MATCH (i:Item {id: 'item-05'})<-[:INTERACTED]-(u)-[:INTERACTED]->(j:Item) RETURN j.id AS id, count(*) AS n ORDER BY n DESC, id LIMIT 5
MATCH (i:Item {id: 'item-05'})<-[:INTERACTED]-(u:User)-[:INTERACTED]->(j:Item) RETURN count(*) AS n, count(DISTINCT u) AS users
MATCH (a:User)-[:KNOWS]->(b:User)-[:KNOWS]->(c:User) RETURN count(*) AS n
MATCH (a:User)-[:KNOWS]-(b:User)-[:KNOWS]-(c:User) RETURN count(*) AS n
MATCH (a:User)-[:KNOWS*2]->(c:User) RETURN count(*) AS n
MATCH (a:User {id: 'user-01'})-[:KNOWS*..3]-(c:User) RETURN count(DISTINCT c) AS n
MATCH (a:Item)-[:RELATED*1..2]->(b:Item) RETURN count(*) AS n
MATCH (u:User)-[:INTERACTED]->(i:Item), (u)-[:INTERACTED]->(j:Item) WHERE i.id < j.id RETURN i.id AS i, j.id AS j, count(DISTINCT u.id) AS n ORDER BY n DESC, i, j LIMIT 5
MATCH (u:User {id: 'user-01'}) OPTIONAL MATCH (u)-[:KNOWS]->(v:User) RETURN u.id AS user, collect(v.id) AS knows
MATCH (u:User) OPTIONAL MATCH (u)-[e:INTERACTED {kind: 'hide'}]->(i) RETURN u.id AS user, count(e) AS hides ORDER BY hides DESC, user LIMIT 3
MATCH (u:User) WITH u ORDER BY u.id DESC RETURN collect(u.id)[0..3] AS last
MATCH (u:User) WITH u ORDER BY u.id RETURN head(collect(u.id)) AS first, last(collect(u.id)) AS last
MATCH (u:User) WITH u.id AS id ORDER BY id LIMIT 4 RETURN tail(collect(id)) AS rest
MATCH (u:User) WITH u ORDER BY u.id SKIP 2 LIMIT 2 RETURN u.id AS id ORDER BY id
RETURN [1, 2, 3][0] AS first, [1, 2, 3][-1] AS last, [1, 2, 3][1..3] AS rest
RETURN substring('abcdef', 2) AS a, substring('abcdef', 0, 2) AS b, left('abcdef', 2) AS c, right('abcdef', 2) AS d
RETURN reverse('abc') AS a, reverse([1, 2, 3]) AS b, size('abc') AS c, size([1, 2]) AS d
RETURN toLower('ABC') AS a, toUpper('abc') AS b, trim('  a ') AS c, ltrim(' a') AS d, rtrim('a ') AS e
RETURN 7 / 2 AS a, 7 % 3 AS b, 7.0 / 2 AS c, 2 ^ 3 AS d, -7 / 2 AS e, abs(-2) AS f
RETURN log(100.0) AS a, log10(100.0) AS b, exp(0.0) AS c, sqrt(16.0) AS d, sign(-3) AS e
RETURN round(2.5) AS a, round(2.456, 2) AS b, ceil(2.1) AS c, floor(2.9) AS d
RETURN toFloat('2.5') AS a, toInteger('12') AS b, toInteger(2.7) AS c, toBoolean('true') AS d
RETURN coalesce(null, 'x') AS a, null IS NULL AS b, 1 IN [1, 2] AS c, NOT false AS d
RETURN 1 < 2 AS a, 1 < 2 <= 2 AS b, 'a' < 'b' AS c, true XOR false AS d
RETURN CASE WHEN 2 > 1 THEN 'yes' ELSE 'no' END AS a, CASE 3 WHEN 1 THEN 'one' WHEN 3 THEN 'three' END AS b
RETURN {a: 1, b: 'x'} AS map, [1, 2] + [3] AS list
RETURN isEmpty('') AS a, isEmpty([1]) AS b
WITH 5 AS k RETURN [x IN [1, 2, 3] | x + k] AS shifted
WITH [3, 1, 2] AS l UNWIND l AS x WITH x ORDER BY x RETURN collect(x) AS sorted
UNWIND ['noir', 'baroque'] AS name MATCH (d:Domain {name: name})<-[:IN]-(i) RETURN name, count(i) AS n ORDER BY name
UNWIND [1, 2] AS x UNWIND [3, 4] AS y RETURN x * y AS z ORDER BY z
MATCH (u:User {id: 'user-01'}) RETURN u {.id, .consent} AS user
MATCH (i:Item {id: 'item-01'}) RETURN i {.id, tags: size([1, 2])} AS item
MATCH (i:Item) WHERE i.title IS NULL RETURN i.id AS id ORDER BY id LIMIT 3
MATCH (n) WHERE n:Tag OR n:Domain RETURN count(*) AS n
MATCH (n) WHERE n:User RETURN count(n) AS n
MATCH (n:Item|Tag) RETURN labels(n)[0] AS label, count(*) AS n ORDER BY label
MATCH (a:User)-[r:INTERACTED|KNOWS]->(b) RETURN type(r) AS type, count(*) AS n ORDER BY type
MATCH (a:User)-[r:INTERACTED|:KNOWS]->(b) RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN startNode(e).id AS user, endNode(e).id AS item ORDER BY user, item LIMIT 2
MATCH (u:User {id: 'user-01'}) RETURN 'id' IN keys(u) AS there
MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN i.id, count(*) ORDER BY count(*) DESC, i.id LIMIT 3
MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN i.id AS id, avg(e.value) AS mean ORDER BY mean DESC, id LIMIT 3
MATCH (u:User)-[e:INTERACTED]->(i:Item) WITH i, count(DISTINCT u) AS n WHERE n > 8 RETURN i.id AS id, n ORDER BY n DESC, id
MATCH (u:User)-[e:INTERACTED]->(i:Item) WITH u.id AS user, count(*) AS n RETURN min(n) AS least, max(n) AS most, avg(n) AS mean
MATCH (u:User)-[e:INTERACTED]->(i:Item) WITH u.id AS user, count(*) AS n RETURN sum(n) AS total, count(*) AS users, toFloat(sum(n)) / count(*) AS per_user
MATCH (i:Item)-[:HAS_TAG]->(t:Tag) RETURN t.category AS category, count(DISTINCT t.name) AS tags, count(DISTINCT i.id) AS items ORDER BY category
MATCH (t:Tag {name: 'shared'})<-[:HAS_TAG]-(i:Item)-[:HAS_TAG]->(o:Tag) WHERE o <> t RETURN o.name AS tag, count(*) AS n ORDER BY n DESC, tag
MATCH (t:Tag)<-[:HAS_TAG]-(i:Item) WITH t, count(i) AS n WHERE n = 1 RETURN t.name AS tag ORDER BY tag
MATCH (d:Domain) RETURN d.name AS name ORDER BY name DESC SKIP 1 LIMIT 2
MATCH (s:Segment)<-[:IN_SEGMENT]-(u:User) RETURN s.name AS segment, count(u) AS users, collect(u.id)[0] IS NULL AS none ORDER BY segment
MATCH (i:Item)-[n:NEAR]->(j:Item) WHERE n.score > 0.9 RETURN i.id AS a, j.id AS b ORDER BY a
MATCH (i:Item)-[n:NEAR]-(j:Item) RETURN i.id AS id, round(avg(n.score), 3) AS score ORDER BY id LIMIT 3
MATCH (u:User)-[:IN_SEGMENT]->(s:Segment), (u)-[e:INTERACTED]->(i:Item)-[:IN]->(d:Domain) RETURN s.name AS segment, d.name AS domain, count(DISTINCT u) AS users ORDER BY segment, domain
MATCH (u:User) RETURN left(u.id, 4) AS begins, count(*) AS n ORDER BY begins
MATCH (u:User) WHERE u.id STARTS WITH 'ana' OR u.id ENDS WITH '7' RETURN u.id AS id ORDER BY id
MATCH (u:User) WHERE toLower(u.id) CONTAINS 'ana' AND NOT u.id CONTAINS '9' RETURN count(*) AS n
MATCH (i:Item) WHERE i.hidden RETURN i.id AS id
MATCH (i:Item) WHERE NOT i.hidden AND i.created_at IS NOT NULL RETURN count(i) AS n
MATCH (i:Item) RETURN DISTINCT i.hidden AS hidden ORDER BY hidden
MATCH (i:Item) WHERE size(i.title) > 7 RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->(i:Item) WHERE e.tag IS NOT NULL RETURN e.tag AS tag, count(DISTINCT u) AS people ORDER BY people DESC, tag LIMIT 4
MATCH (u:User)-[:USED]->(t:Tag) RETURN t.name AS tag, count(u) AS people ORDER BY people DESC, tag LIMIT 4
MATCH (u:User)-[r:USED]->(t:Tag {name: 'rising'}) RETURN sum(r.events) AS events
MATCH (u:User) RETURN count(*) AS n UNION ALL MATCH (i:Item) RETURN count(*) AS n
MATCH (u:User) RETURN 'users' AS what, count(*) AS n UNION MATCH (i:Item) RETURN 'items' AS what, count(*) AS n
MATCH (a:User)-[:KNOWS]->(a) RETURN count(*) AS n
MATCH (a:User {id: 'user-01'})--(x) RETURN labels(x)[0] AS label, count(*) AS n ORDER BY label
MATCH (i:Item) WITH collect(i.id) AS ids RETURN size(ids) AS n, 'item-03' IN ids AS there
MATCH (u:User)-[e:INTERACTED]->(i:Item) WITH DISTINCT u, i RETURN count(*) AS pairs
MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN count(DISTINCT u.id + i.id) AS pairs
MATCH (i:Item) RETURN sum(CASE WHEN i.title IS NULL THEN 1 ELSE 0 END) AS untitled, count(*) AS items
MATCH (u:User {id: $name})-[e:INTERACTED]->(i:Item) RETURN count(*) AS n
MATCH (u:User)-[e:INTERACTED]->(i:Item {id: $id}) RETURN e.kind AS kind, count(*) AS n ORDER BY kind
MATCH (u:User) WHERE u.consent = true RETURN count(*) AS n
MATCH (a:Item {id: 'item-01'}), (b:Item {id: 'item-02'}) RETURN a.title + ' and ' + coalesce(b.title, '?') AS pair
MATCH (a:User)-[:INTERACTED]->(i:Item)<-[:INTERACTED]-(b:User) WHERE id(a) < id(b) RETURN count(DISTINCT i) AS items
MATCH (i:Item) WHERE i.id >= 'item-10' AND i.id <= 'item-12' RETURN i.id AS id ORDER BY id
MATCH (u:User) RETURN u.id ORDER BY u.id LIMIT 1
match (u:User) where u.id = "user-01" return u.id as id
MATCH (`u`:`User`) RETURN count(`u`) AS `n`
MATCH (i:Item) RETURN count(*) > 50 AS many
MATCH (i:Item) /* every one */ RETURN count(*) AS n // counted
