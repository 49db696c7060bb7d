"""Makes the databases beside it: pip install mmdb-writer==0.2.7 && python3 make.py

Small, and made up: the names of vendors' fields are real, what they say of these addresses is not. The build epoch is fixed, so
that the same bytes come out.
"""
import pathlib
import sys

import mmdb_writer
from mmdb_writer import MMDBWriter
from netaddr import IPSet

HERE = pathlib.Path(__file__).parent
BUILT_AT_S = 1_760_000_000  # 9 October 2025


def names(english):
    """As GeoIP2 has them: several languages, so that there is something to skip."""
    return {"de": english, "en": english, "fr": english}


def country(code, english):
    return {"geoname_id": 1, "iso_code": code, "names": names(english)}


def write(file, database_type, networks):
    writer = MMDBWriter(
        ip_version=6, ipv4_compatible=True, database_type=database_type, languages=["en"], description=file,
    )
    for network, record in networks:
        writer.insert_network(IPSet([network]), record)
    mmdb_writer.time.time = lambda: BUILT_AT_S
    writer.to_db_file(str(HERE / file))


# The usual layout, of MaxMind's GeoIP2 and GeoLite2 and of DB-IP.
write("city.mmdb", "GeoLite2-City", [
    ("81.2.69.0/24", {
        "city": {"geoname_id": 2, "names": names("Oslo")},
        "continent": {"code": "EU", "names": names("Europe")},
        "country": country("NO", "Norway"),
        "location": {"latitude": 59.9, "longitude": 10.7, "accuracy_radius": 10},
        "registered_country": country("SE", "Sweden"),
        "subdivisions": [country("03", "Oslo")],
        "traits": {"is_anycast": True},
    }),
    ("81.2.70.0/24", {"registered_country": country("SE", "Sweden")}),
    ("81.2.71.0/24", {"continent": {"code": "EU", "names": names("Europe")}}),
    ("10.0.0.0/8", {"country": country("DE", "Germany")}),
    ("2a02:cf40::/29", {"country": country("FI", "Finland")}),
])
write("asn.mmdb", "GeoLite2-ASN", [
    ("81.2.69.0/25", {"autonomous_system_number": 2119, "autonomous_system_organization": "Telenor Norge AS"}),
    ("81.2.70.0/24", {"autonomous_system_number": 64512}),
    ("2a02:cf40::/32", {
        "autonomous_system_number": 4_200_000_001,
        "autonomous_system_organization": "Ø" * 100,
    }),
])
# IPinfo's layouts: all flat, all texts.
write("ipinfo_lite.mmdb", "ipinfo generic_bundle_lite.mmdb", [
    ("81.2.69.0/24", {
        "as_domain": "telenor.example", "as_name": "Telenor Norge AS", "asn": "AS2119", "continent": "Europe",
        "continent_code": "EU", "country": "Norway", "country_code": "NO",
    }),
])
write("ipinfo_country.mmdb", "ipinfo country.mmdb", [
    ("81.2.69.0/24", {"country": "NO", "country_name": "Norway", "continent": "EU"}),
])
write("ipinfo_asn.mmdb", "ipinfo asn.mmdb", [
    ("81.2.69.0/24", {"asn": "AS2119", "name": "Telenor Norge AS", "domain": "telenor.example", "type": "isp"}),
])
# Nothing that is asked for; and a field of another type than everywhere else.
write("other.mmdb", "Connection-Type", [("81.2.69.0/24", {"connection_type": "Cellular", "name": "x"})])
write("odd.mmdb", "Odd", [
    ("81.2.69.0/24", {"country": ["NO"], "country_code": "NO", "asn": 2119, "as_name": 7, "name": "Telenor"}),
])
print("made by Python", sys.version.split()[0])
