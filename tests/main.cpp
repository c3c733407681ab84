// The one main of every Boost.Test executable; linked, since the header-only variant costs seconds a file.
#define BOOST_TEST_MODULE mindgap
#include <boost/test/unit_test.hpp>
