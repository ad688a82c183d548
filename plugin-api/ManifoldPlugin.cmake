function(manifold_plugin dir)
endfunction()
