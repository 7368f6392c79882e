import cProfile,pstats,sys
sys.argv=["x","2051","2052"]
cProfile.run(open("try.py").read(),"/tmp/sim.prof")
pstats.Stats("/tmp/sim.prof").sort_stats("tottime").print_stats(14)
